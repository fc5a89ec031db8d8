"""What orchestrators are told: alive, ready, and why not."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fixtures.weir import RunningWeir

FINE = {"ok": True, "reason": None}


async def ask(weir: RunningWeir, path: str = "/readyz") -> tuple[int, dict[str, Any]]:
    async with weir.http("") as client:
        answer = await client.get(path)
    body: dict[str, Any] = answer.json()
    return answer.status_code, body


async def test_a_process_that_answers_is_alive(weir: RunningWeir) -> None:
    assert await ask(weir, "/healthz") == (200, {"status": "ok"})


async def test_a_process_that_has_all_it_needs_is_ready(weir: RunningWeir) -> None:
    names = ("database", "schema", "ledger", "redis", "limits", "accepting")
    assert await ask(weir) == (200, {"status": "ok", "checks": dict.fromkeys(names, FINE)})


@pytest.fixture
async def draining_weir(weir: RunningWeir) -> AsyncIterator[RunningWeir]:
    weir.wiring.health.is_draining = True
    yield weir
    weir.wiring.health.is_draining = False


async def test_a_process_that_stops_is_not_ready_and_alive_still(draining_weir: RunningWeir) -> None:
    status, body = await ask(draining_weir)

    assert (status, body["status"]) == (503, "unavailable")
    assert body["checks"]["accepting"] == {"ok": False, "reason": "stopping: finishing the calls that are open"}
    assert body["checks"]["database"] == FINE
    assert (await ask(draining_weir, "/healthz"))[0] == 200


async def test_another_schema_than_the_one_needed_is_a_reason(weir: RunningWeir) -> None:
    [(needed,)] = await weir.sql("UPDATE alembic_version SET version_num = '9999' RETURNING old.version_num")
    try:
        status, body = await ask(weir)
    finally:
        await weir.sql("UPDATE alembic_version SET version_num = $1", needed)

    assert (status, body["status"]) == (503, "unavailable")
    assert body["checks"]["schema"]["ok"] is False
    assert "at 9999, which this Weir does not know" in body["checks"]["schema"]["reason"]
    assert (await ask(weir))[0] == 200


async def test_a_ledger_that_cannot_be_written_is_a_reason(weir: RunningWeir) -> None:
    weir.wiring.ledger.health.down("DiskFullError: no space left")
    try:
        status, body = await ask(weir)
    finally:
        weir.wiring.ledger.health.up()

    assert status == 503
    assert body["checks"]["ledger"] == {"ok": False, "reason": "DiskFullError: no space left"}
