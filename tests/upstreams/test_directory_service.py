"""Which upstreams calls may go to: the same in every process a moment after a change, whatever is wrong with some."""

import asyncio
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from app.core import snapshot
from app.core.crypto import SecretBox, derive_key
from app.core.db import DatabaseUnavailable
from tests.fixtures.own_servers import OwnServer
from tests.fixtures.upstreams import SECOND_KEY, Managed
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir

OPEN = {"upstreams.allow_private_addresses": True}
# The promise is a second; a busy machine may take longer to get to it.
SOON_SECONDS = 5.0


def names(weir: RunningWeir) -> list[str]:
    return [upstream.name for upstream in weir.wiring.upstreams._directory.upstreams]


async def state(managed: Managed, made: dict[str, Any]) -> str:
    answer: str = (await managed.call("GET", f"/{made['id']}")).json()["state"]
    return answer


async def test_every_process_hears_of_a_change_at_once(managed: Managed, start_weir: StartWeir) -> None:
    other = await start_weir(OPEN)

    async with asyncio.timeout(SOON_SECONDS):
        made = await managed.add()
        await until(lambda: names(other) == ["openai", "second"])
        await managed.call("PATCH", f"/{made['id']}", json={"enabled": False})
        await until(lambda: names(other) == ["openai"])
        await managed.call("PATCH", f"/{made['id']}", json={"enabled": True})
        await until(lambda: names(other) == ["openai", "second"])
        await managed.call("DELETE", f"/{made['id']}")
        await until(lambda: names(other) == ["openai"])


async def test_a_process_that_starts_has_them_and_those_from_the_environment_come_first(
    managed: Managed, start_weir: StartWeir
) -> None:
    for name in ("b", "a"):
        await managed.add(name=name)
    other = await start_weir({**OPEN, "simulator.mode": "on"})
    assert names(other) == ["simulator", "openai", "b", "a"]


async def test_a_notice_that_was_lost_is_made_up_for(managed: Managed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "REFRESH_SECONDS", 0.05)
    service: Any = managed.weir.wiring.upstream_admin._directory
    keeping = asyncio.create_task(service.keep_fresh())
    try:
        await managed.add()
        await managed.weir.sql("UPDATE upstreams SET weight = 5")  # and nobody is told
        async with asyncio.timeout(SOON_SECONDS):
            await until(lambda: managed.weir.wiring.upstreams._directory.upstreams[-1].weight == 5)
    finally:
        keeping.cancel()


async def test_while_the_database_is_away_those_in_memory_are_used(
    managed: Managed, start_weir: StartWeir, own_postgres: OwnServer, own_settings: Any
) -> None:
    other = await start_weir({**OPEN, "database_url": own_settings.database_url})
    own = Managed(other, managed.second, managed.second_url)
    await own.add()
    service: Any = other.wiring.upstream_admin._directory
    own_postgres.kill()
    try:
        with pytest.raises(DatabaseUnavailable):
            await service.load()
        assert names(other) == ["openai", "second"]
    finally:
        own_postgres.heal()
        await until(lambda: _is_empty(own_settings.database_url.get_secret_value()))


async def _is_empty(url: str) -> bool:
    """Leave nothing behind, as soon as the server is there again."""
    try:
        connection = await asyncpg.connect(url)
    except (OSError, asyncpg.PostgresError):
        return False
    await connection.execute("DELETE FROM upstreams")
    await connection.close()
    return True


async def test_one_whose_credential_cannot_be_decrypted_is_left_out_and_the_others_go_on(managed: Managed) -> None:
    made, well = await managed.add(), await managed.add(name="well")
    await managed.weir.sql(
        "UPDATE upstreams SET api_key_encrypted = set_byte(api_key_encrypted, 30, 0) WHERE name = 'second'"
    )
    service: Any = managed.weir.wiring.upstream_admin._directory

    service._faults = {}  # a notice that was late may have told of it already
    with capture_logs() as lines:
        for _ in range(3):
            await service.load()

    assert names(managed.weir) == ["openai", "well"]
    left_out = [line for line in lines if line.get("reason") == "credential_unreadable"]
    assert [(line["event"], line["upstream"]) for line in left_out] == [("upstream_left_out", "second")]
    assert (await state(managed, made), await state(managed, well)) == ("credential_unreadable", "ready")
    listed = (await managed.call("GET")).json()["data"]
    assert [each["state"] for each in listed] == ["credential_unreadable", "ready"]

    tested = (await managed.call("POST", f"/{made['id']}/test")).json()
    assert (tested["ok"], tested["failure"]) == (False, "credential_unreadable")
    unseen = await managed.call("PATCH", f"/{made['id']}", json={"weight": 3})
    assert unseen.status_code == 200
    needed = await managed.call("PATCH", f"/{made['id']}", json={"api_version": "2024-10-21", "provider": "azure"})
    assert (needed.status_code, needed.json()["error"]["param"]) == (400, "api_key")

    assert (await managed.call("PATCH", f"/{made['id']}", json={"api_key": SECOND_KEY})).json()["state"] == "ready"
    assert names(managed.weir) == ["openai", "second", "well"]


async def test_a_credential_that_was_moved_to_another_row_does_not_work_there(managed: Managed) -> None:
    """Whoever can write to the database cannot have a credential sent to a server of their own."""
    await managed.add()
    await managed.add(name="thief", api_key=None, test=False)
    await managed.weir.sql(
        "UPDATE upstreams AS t SET api_key_encrypted = s.api_key_encrypted, api_key_redacted = '' "
        "FROM upstreams AS s WHERE t.name = 'thief' AND s.name = 'second'"
    )
    service: Any = managed.weir.wiring.upstream_admin._directory
    await service.load()
    assert names(managed.weir) == ["openai", "second"]


async def test_an_address_that_the_settings_no_longer_allow_is_left_out(
    managed: Managed, start_weir: StartWeir
) -> None:
    made = await managed.add()
    strict = await start_weir({})

    assert names(strict) == ["openai"]
    async with strict.http(managed.weir.admin_key) as client:
        shown = (await client.get(f"/v1/gateway/upstreams/{made['id']}")).json()
        tested = (await client.post(f"/v1/gateway/upstreams/{made['id']}/test")).json()
    assert shown["state"] == tested["failure"] == "address_refused"
    assert not tested["ok"]


async def test_a_process_without_the_key_goes_without_those_upstreams(managed: Managed, start_weir: StartWeir) -> None:
    """As when one replica was given another WEIR_SECRETS__KEY."""
    await managed.add()
    service: Any = managed.weir.wiring.upstream_admin._directory
    box, service._box = service._box, SecretBox([derive_key(b"another", b"key")])
    try:
        await service.load()
        assert names(managed.weir) == ["openai"]
    finally:
        service._box = box
    await service.load()
    assert names(managed.weir) == ["openai", "second"]
