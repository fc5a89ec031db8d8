"""X-Forwarded-For is believed of configured proxies only, and nobody else can choose the address that Weir sees."""

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from app.observability.proxies import ForwardedFor, parse_address
from app.setting_groups import Server
from tests.fixtures.weir import RunningWeir, StartWeir

PROXIES = ("10.0.0.0/8", "192.168.7.1", "2001:db8:1::/48")


def seen(
    peer: str | None, *chains: str, proxies: tuple[str, ...] = PROXIES, others: dict[str, str] | None = None
) -> str | None:
    """Return the address that the app sees, when *peer* sends X-Forwarded-For headers of *chains*, and *others*."""
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)

    headers = [(b"x-forwarded-for", chain.encode("latin-1")) for chain in chains]
    headers += [(name.encode(), value.encode()) for name, value in (others or {}).items()]
    scope = {"type": "http", "client": None if peer is None else (peer, 4711), "headers": headers}
    asyncio.run(ForwardedFor(app, proxies=proxies)(scope, None, None))  # type: ignore[arg-type]
    client = scopes[0]["client"]
    return None if client is None else str(client[0])


@pytest.mark.parametrize(
    ("peer", "chains", "address"),
    [
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9, 10.1.2.3, 192.168.7.1"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9", "10.1.2.3"], "203.0.113.9"),
        ("2001:db8:1::5", ["2001:db8:2::9"], "2001:db8:2::9"),
        ("2001:db8:1::5", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["2001:DB8:2:0::9"], "2001:db8:2::9"),
        ("::ffff:10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9:51000"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db8:2::9]:51000"], "2001:db8:2::9"),
        ("10.0.0.1", ["[2001:db8:2::9]"], "2001:db8:2::9"),
        ("10.0.0.1", ["\t203.0.113.9 ,10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
    ],
)
def test_the_nearest_address_that_is_no_proxys_is_the_clients(peer: str, chains: list[str], address: str) -> None:
    assert seen(peer, *chains) == address


@pytest.mark.parametrize("spoofed", ["127.0.0.1", "10.0.0.9", "198.51.100.1, 10.0.0.2", "unknown", "::1", ","])
def test_what_a_client_wrote_itself_is_not_believed(spoofed: str) -> None:
    assert seen("10.0.0.1", f"{spoofed}, 203.0.113.9") == "203.0.113.9"
    assert seen("10.0.0.1", spoofed, "203.0.113.9, 10.0.0.2") == "203.0.113.9"
    assert seen("203.0.113.9", spoofed) == "203.0.113.9"


@pytest.mark.parametrize(
    "garbage",
    [
        "unknown",
        "_hidden",
        "203.0.113.999",
        "203.0.113.9:port",
        "203.0.113.9:1234567",
        "0x7f.1",
        "2130706433",
        "[2001:db8:2::9",
        "2001:db8:2::9]:80",
        "for=203.0.113.9",
        "203.0.113.9/32",
        "\xff\xfe",
        "1" * 5_000,
        "'; DROP TABLE audit_entries",
    ],
)
def test_an_entry_that_is_no_address_ends_the_chain_at_the_last_that_was_one(garbage: str) -> None:
    assert seen("10.0.0.1", f"198.51.100.1, {garbage}") == "10.0.0.1"
    assert seen("10.0.0.1", f"198.51.100.1, {garbage}, 10.0.0.2") == "10.0.0.2"


def test_no_other_header_says_where_a_client_is() -> None:
    others = {"x-real-ip": "198.51.100.1", "forwarded": "for=198.51.100.1", "true-client-ip": "198.51.100.1"}
    assert seen("10.0.0.1", others=others) == "10.0.0.1"
    assert seen("10.0.0.1", "203.0.113.9", others=others) == "203.0.113.9"


def test_a_chain_is_read_only_so_far() -> None:
    assert seen("10.0.0.1", ", ".join(["203.0.113.9", *["10.0.0.2"] * 31])) == "203.0.113.9"
    assert seen("10.0.0.1", ", ".join(["203.0.113.9", *["10.0.0.2"] * 10_000])) == "10.0.0.2"


def test_the_name_of_an_interface_does_not_travel() -> None:
    assert str(parse_address("fe80::1%eth0\r\nx: y")) == "fe80::1"
    assert seen("fe80::1%eth0", "203.0.113.9", proxies=("fe80::/10",)) == "203.0.113.9"


def test_a_caller_through_a_socket_without_addresses_has_none() -> None:
    assert seen(None, "203.0.113.9") is None


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "proxy.internal", "", "10.0.0.0/33", "0.0.0.0/0", "::/0", "*"])
def test_the_settings_take_networks_only_and_not_everybody(wrong: str) -> None:
    with pytest.raises(ValidationError, match="trusted_proxies"):
        Server(trusted_proxies=(wrong,))


async def test_without_proxies_in_the_settings_the_header_is_not_read(weir: RunningWeir) -> None:
    assert await _audited_address(weir, "203.0.113.9") == "127.0.0.1"


async def test_the_address_behind_a_proxy_in_the_settings_is_the_one_that_is_audited(start_weir: StartWeir) -> None:
    weir = await start_weir({"server.trusted_proxies": ("127.0.0.0/8",)})
    assert await _audited_address(weir, "198.51.100.1, 203.0.113.9") == "203.0.113.9"


async def test_a_proxy_that_is_not_in_the_settings_is_not_believed(start_weir: StartWeir) -> None:
    weir = await start_weir({"server.trusted_proxies": ("10.0.0.0/8",)})
    assert await _audited_address(weir, "203.0.113.9") == "127.0.0.1"


async def _audited_address(weir: RunningWeir, forwarded_for: str) -> Any:
    async with weir.http(weir.admin_key) as client:
        body = {"name": "A team's", "scope": "organization", "period": "month", "limit_usd": "5"}
        made = await client.post("/v1/gateway/budgets", json=body, headers={"x-forwarded-for": forwarded_for})
    assert made.status_code == 200, made.text
    rows = await weir.sql("SELECT address FROM audit_entries WHERE resource_id = $1", made.json()["id"])
    return rows[0]["address"]
