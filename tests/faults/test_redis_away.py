"""Redis killed or frozen under a running Weir: said in `/readyz`, no call is lost, and it recovers by itself."""

from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.fixtures.own_servers import OwnServer
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}


@pytest.fixture
async def weir(own_valkey: OwnServer, start_weir: StartWeir) -> RunningWeir:
    return await start_weir({"redis_url": SecretStr(own_valkey.url)})


async def readiness(weir: RunningWeir) -> tuple[int, dict[str, Any]]:
    async with weir.http("") as client:
        answer = await client.get("/readyz")
    body: dict[str, Any] = answer.json()
    return answer.status_code, body


async def metric(weir: RunningWeir, name: str) -> str:
    async with weir.http("") as client:
        lines = (await client.get("/metrics")).text.splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name} "))


@pytest.mark.parametrize("way", ["killed", "frozen"])
async def test_without_redis_a_weir_is_degraded_and_serves_and_recovers(
    weir: RunningWeir, own_valkey: OwnServer, way: str
) -> None:
    async def is_whole() -> bool:
        return bool((await readiness(weir))[1]["status"] == "ok")

    await until(is_whole)
    with capture_logs() as lines:
        if way == "killed":
            own_valkey.kill()
        else:
            own_valkey.freeze()

        status, body = await readiness(weir)
        assert (status, body["status"]) == (200, "degraded")
        assert body["checks"]["redis"]["ok"] is False
        assert body["checks"]["redis"]["reason"]
        assert body["checks"]["database"]["ok"] is True
        assert await metric(weir, "weir_redis_up") == "0.0"
        async with weir.http() as client:
            assert (await client.post("/v1/chat/completions", json=BODY)).status_code == 200

        own_valkey.heal()
        await until(is_whole)

    assert await metric(weir, "weir_redis_up") == "1.0"
    changes = [line["event"] for line in lines if line.get("dependency") == "redis"]
    assert changes == ["dependency_lost", "dependency_back"]


async def test_a_weir_starts_without_redis_and_says_so(own_valkey: OwnServer, start_weir: StartWeir) -> None:
    own_valkey.kill()

    weir = await start_weir({"redis_url": SecretStr(own_valkey.url)})

    status, body = await readiness(weir)
    assert (status, body["status"]) == (200, "degraded")
