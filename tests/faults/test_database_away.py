"""PostgreSQL killed or frozen under a running Weir: calls are refused and not made, and it recovers by itself."""

import asyncio
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from app.keys import tokens
from app.settings import Settings
from tests.fixtures.own_servers import OwnServer
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
SLOW = {**BODY, "model": "gpt-4o-mini;latency_ms=400"}
IMPATIENT = {
    "database.connect_timeout_seconds": 3.0,
    "database.pool_timeout_seconds": 3.0,
    # PostgreSQL also ends a transaction that waits this long for its next statement, as one of a busy machine may.
    "database.statement_timeout_seconds": 4.0,
    "database.lock_timeout_seconds": 1.0,
}


@pytest.fixture
async def weir(own_settings: Settings, start_weir: StartWeir) -> RunningWeir:
    """Return a Weir on a PostgreSQL of its own, with an empty ledger."""
    weir = await start_weir({"database_url": own_settings.database_url, **IMPATIENT})
    await weir.empty()
    return weir


@pytest.fixture
def heals(weir: RunningWeir, own_postgres: OwnServer) -> Any:
    """Heal PostgreSQL before Weir is closed, which would otherwise wait for it."""
    yield
    own_postgres.heal()


async def call(weir: RunningWeir, body: dict[str, Any] | None = None, key: str | None = None) -> httpx.Response:
    async with weir.http(key) as client:
        return await client.post("/v1/chat/completions", json=body or BODY)


async def readiness(weir: RunningWeir) -> tuple[int, dict[str, Any]]:
    async with weir.http("") as client:
        answer = await client.get("/readyz")
    body: dict[str, Any] = answer.json()
    return answer.status_code, body


def became(weir: RunningWeir, status: int) -> Any:
    async def condition() -> bool:
        return (await readiness(weir))[0] == status

    return condition


async def metric(weir: RunningWeir, name: str) -> str:
    async with weir.http("") as client:
        lines = (await client.get("/metrics")).text.splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name} "))


def assert_unavailable(answer: httpx.Response) -> None:
    assert answer.status_code == 503
    error = answer.json()["error"]
    assert (error["code"], error["type"], error["param"]) == ("service_unavailable", "server_error", None)
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["x-request-id"]


@pytest.mark.usefixtures("heals")
async def test_a_killed_database_stops_calls_and_when_it_is_back_they_go_on(
    weir: RunningWeir, own_postgres: OwnServer
) -> None:
    first = await call(weir)
    assert first.status_code == 200

    with capture_logs() as lines:
        own_postgres.kill()
        await until(became(weir, 503))

        _, body = await readiness(weir)
        assert body["status"] == "unavailable"
        assert body["checks"]["database"]["ok"] is False
        assert body["checks"]["database"]["reason"]
        assert body["checks"]["schema"] == {"ok": False, "reason": "unknown while the database is away"}
        assert body["checks"]["redis"]["ok"] is True
        assert await metric(weir, "weir_database_up") == "0.0"
        sent = len(weir.arrivals)
        assert_unavailable(await call(weir))
        assert_unavailable(await call(weir, {**BODY, "stream": True}))
        assert_unavailable(await call(weir, key=tokens.mint("api")))  # not 401: nobody can tell
        async with weir.http() as client:
            assert_unavailable(await client.get(f"/v1/requests/{first.headers['x-request-id']}"))
            assert (await client.get("/healthz")).status_code == 200
        assert len(weir.arrivals) == sent

        own_postgres.start()
        await until(became(weir, 200))

    assert (await call(weir)).status_code == 200
    assert await metric(weir, "weir_database_up") == "1.0"
    changes = [line["event"] for line in lines if line.get("dependency") == "database"]
    assert changes == ["dependency_lost", "dependency_back"]
    assert len(await weir.entries()) == 2


@pytest.mark.usefixtures("heals")
async def test_a_call_that_is_on_its_way_when_the_database_dies_is_answered_and_written_once_when_it_is_back(
    weir: RunningWeir, own_postgres: OwnServer
) -> None:
    arrived = len(weir.arrivals)
    calling = [asyncio.create_task(call(weir, {**SLOW, "stream": streamed})) for streamed in (False, True)]
    await weir.simulator.account.wait_for_arrivals(arrived + 2)

    own_postgres.kill()
    answers = await asyncio.gather(*calling)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].text.rstrip().endswith("data: [DONE]")
    assert weir.wiring.ledger.pending == 2

    own_postgres.start()
    async with asyncio.timeout(15):
        entries = await weir.entries()
    assert {entry["request_id"] for entry in entries} == {answer.headers["x-request-id"] for answer in answers}
    assert len(entries) == 2
    await until(became(weir, 200))
    async with weir.http() as client:
        assert (await client.get(f"/v1/requests/{answers[0].headers['x-request-id']}")).status_code == 200


@pytest.mark.usefixtures("heals")
async def test_a_frozen_database_holds_nobody_longer_than_its_timeouts(
    weir: RunningWeir, own_postgres: OwnServer
) -> None:
    assert (await call(weir)).status_code == 200

    own_postgres.freeze()
    async with asyncio.timeout(30):
        await until(became(weir, 503))
        answers = await asyncio.gather(*(call(weir, key=tokens.mint("api")) for _ in range(12)), call(weir))
    for answer in answers:
        assert_unavailable(answer)

    own_postgres.thaw()
    await until(became(weir, 200))
    assert (await call(weir)).status_code == 200
    assert len(await weir.entries()) == 2


@pytest.mark.usefixtures("heals")
async def test_sessions_that_an_operator_ends_are_replaced(weir: RunningWeir) -> None:
    assert (await call(weir)).status_code == 200

    await weir.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'weir'")
    await until(became(weir, 200))
    answers = [await call(weir) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len(await weir.entries()) == 4


@pytest.mark.usefixtures("heals")
async def test_a_weir_that_stops_without_its_database_says_what_it_could_not_write(
    own_settings: Settings, own_postgres: OwnServer, start_weir: StartWeir
) -> None:
    changes = {"database_url": own_settings.database_url, **IMPATIENT, "server.shutdown_grace_seconds": 1.0}
    weir = await start_weir(changes)
    arrived = len(weir.arrivals)
    calling = asyncio.create_task(call(weir, SLOW))
    await weir.simulator.account.wait_for_arrivals(arrived + 1)
    own_postgres.kill()
    answer = await calling
    assert answer.status_code == 200

    with capture_logs() as lines:
        await weir.wiring.ledger.close(0.05)

    [line] = [line for line in lines if line["event"] == "ledger_entry_not_written"]
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["cost_nano"] > 0
