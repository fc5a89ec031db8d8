import socket

import pytest

from app.upstreams.name_client import SystemResolver


async def test_a_name_of_this_machine_leads_to_it() -> None:
    found = await SystemResolver().resolve("localhost", 443)
    assert [(each["hostname"], each["host"], each["port"], each["family"]) for each in found] == [
        ("localhost", "127.0.0.1", 443, socket.AF_INET)
    ]


async def test_an_address_that_is_local_to_a_link_keeps_its_zone() -> None:
    index, _ = socket.if_nameindex()[0]
    (found,) = await SystemResolver().resolve(f"fe80::1%{index}", 443, socket.AF_INET6)
    assert (found["host"], found["family"]) == (f"fe80::1%{index}", socket.AF_INET6)


async def test_a_name_without_an_address_of_that_family_is_an_error_of_the_system() -> None:
    resolver = SystemResolver()
    with pytest.raises(socket.gaierror):
        await resolver.resolve("::1", family=socket.AF_INET)
    await resolver.close()
