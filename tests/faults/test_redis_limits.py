"""Redis killed, frozen, emptied under limits: each process keeps its share, visibly, nothing hangs, and it recovers."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.fixtures.own_servers import OwnServer
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir
from tests.limits.making import BODY, make


@pytest.fixture
async def weir(own_valkey: OwnServer, start_weir: StartWeir) -> RunningWeir:
    return await started(start_weir, own_valkey)


async def started(start_weir: StartWeir, valkey: OwnServer, **changes: Any) -> RunningWeir:
    weir = await start_weir({"redis_url": SecretStr(valkey.url), **changes})
    await weir.empty()
    await weir.wiring.limits.service.load()
    return weir


async def statuses(weir: RunningWeir, count: int) -> list[int]:
    async with weir.http() as client:
        return [(await client.post("/v1/chat/completions", json=BODY)).status_code for _ in range(count)]


async def check(weir: RunningWeir) -> dict[str, Any]:
    async with weir.http("") as client:
        body = (await client.get("/readyz")).json()
    return {"status": body["status"], **body["checks"]["limits"]}


async def metric(weir: RunningWeir, name: str) -> str:
    async with weir.http("") as client:
        lines = (await client.get("/metrics")).text.splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name} "))


async def recovered(weir: RunningWeir) -> None:
    async def is_whole() -> bool:
        return bool((await check(weir))["ok"])

    await until(is_whole)


@pytest.mark.parametrize("way", ["killed", "frozen"])
async def test_without_redis_a_process_keeps_its_share_and_says_so_and_recovers(
    weir: RunningWeir, own_valkey: OwnServer, way: str
) -> None:
    await make(weir, maximum=2)
    await make(weir, counts="tokens", maximum=100_000)
    assert await statuses(weir, 3) == [200, 200, 429]

    with capture_logs() as lines:
        own_valkey.kill() if way == "killed" else own_valkey.freeze()
        async with asyncio.timeout(15):
            # What was admitted before is not known here, so the share of the only process begins whole.
            assert await statuses(weir, 4) == [200, 200, 429, 429]
        found = await check(weir)
        assert (found["status"], found["ok"]) == ("degraded", False)
        assert found["reason"].startswith("not counted together with the other processes: ")
        assert await metric(weir, "weir_limits_local") == "1.0"
        own_valkey.heal()
        await recovered(weir)

    assert await metric(weir, "weir_limits_local") == "0.0"
    changes = [line["event"] for line in lines if line.get("dependency") == "limits"]
    assert changes == ["dependency_lost", "dependency_back"]
    # Frozen, it remembers the window; killed, it has forgotten: counters are not written to disk in tests.
    assert await statuses(weir, 3) == ([200, 200, 429] if way == "killed" else [429, 429, 429])


async def test_many_calls_at_the_moment_redis_hangs_wait_no_longer_than_one(
    weir: RunningWeir, own_valkey: OwnServer
) -> None:
    await make(weir, maximum=1_000)
    assert await statuses(weir, 1) == [200]
    service = weir.wiring.limits.service

    own_valkey.freeze()
    with capture_logs() as lines:
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*(statuses(weir, 1) for _ in range(50)))

    assert answers == [[200]] * 50
    assert len([line for line in lines if line.get("dependency") == "limits"]) == 1
    assert service._store.health.reason


async def test_calls_at_once_go_on_counting_while_redis_is_away_and_when_it_is_back(
    weir: RunningWeir, own_valkey: OwnServer
) -> None:
    await make(weir, name="at once", counts="concurrent", per=None, maximum=2)
    body = {**BODY, "stream": True}
    async with weir.http() as client:
        headers = {"x-simulator": "hang=1"}
        async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as first:
            assert first.status_code == 200
            own_valkey.kill()
            async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as second:
                assert second.status_code == 200
                assert await statuses(weir, 1) == [429]
                own_valkey.start()
                await recovered(weir)
                # The beat that found Redis has told it of both calls.
                assert await statuses(weir, 1) == [429]

    async def has_room() -> bool:
        return await statuses(weir, 1) == [200]

    await until(has_room)


async def test_who_wants_calls_refused_without_redis_gets_a_503_that_says_when_to_come_back(
    start_weir: StartWeir, own_valkey: OwnServer
) -> None:
    weir = await started(start_weir, own_valkey, **{"limits.on_redis_loss": "refuse"})
    await make(weir, maximum=100)
    assert await statuses(weir, 1) == [200]
    own_valkey.kill()

    async with weir.http() as client:
        answer = await client.post("/v1/chat/completions", json=BODY)
        explained = await client.post("/v1/gateway/explain", json=BODY)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert explained.json()["decision"] == "admitted"
    assert len(await weir.entries()) == 1


async def test_a_redis_that_is_flushed_in_the_middle_of_a_window_begins_it_anew(
    weir: RunningWeir, own_valkey: OwnServer
) -> None:
    await make(weir, maximum=1)
    assert await statuses(weir, 2) == [200, 429]

    await weir.wiring.limits.service._store._redis._first.client.flushall()
    await weir.wiring.limits.service._store._redis._first.client.script_flush()

    assert await statuses(weir, 2) == [200, 429]
    assert (await check(weir))["ok"]


async def test_each_of_two_processes_keeps_half_of_a_limit(start_weir: StartWeir, own_valkey: OwnServer) -> None:
    weirs = [await started(start_weir, own_valkey), await started(start_weir, own_valkey)]
    stores = [weir.wiring.limits.service._store for weir in weirs]
    await make(weirs[0], maximum=4)
    await weirs[1].wiring.limits.service.load()

    async def know_each_other() -> bool:
        await asyncio.gather(*(store.beat() for store in stores))
        return [store.processes for store in stores] == [2, 2]

    await until(know_each_other)
    own_valkey.kill()

    assert [await statuses(weir, 4) for weir in weirs] == [[200, 200, 429, 429]] * 2
    own_valkey.start()


async def test_a_weir_that_starts_without_redis_keeps_limits_by_itself(
    start_weir: StartWeir, own_valkey: OwnServer
) -> None:
    own_valkey.kill()
    weir = await started(start_weir, own_valkey)
    await make(weir, maximum=1)

    assert await statuses(weir, 2) == [200, 429]
    own_valkey.start()
    await recovered(weir)


async def test_callers_without_limits_do_not_notice_that_redis_is_away(
    start_weir: StartWeir, own_valkey: OwnServer
) -> None:
    weir = await started(start_weir, own_valkey, **{"limits.on_redis_loss": "refuse"})
    own_valkey.kill()

    assert await statuses(weir, 3) == [200, 200, 200]
