"""Redis killed or frozen under cached answers: calls are made as if nothing were kept, at once, and it recovers."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.fixtures.own_servers import OwnServer
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir

BODY = {"model": "text-embedding-3-small", "input": "Say hello."}


@pytest.fixture
async def weir(own_valkey: OwnServer, start_weir: StartWeir) -> RunningWeir:
    return await start_weir({"redis_url": SecretStr(own_valkey.url)})


async def word(weir: RunningWeir) -> str:
    async with weir.http() as client:
        answer = await client.post("/v1/embeddings", json=BODY, headers={"x-weir-cache": "on"})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-weir-cache"]


@pytest.mark.parametrize("way", ["killed", "frozen"])
async def test_without_redis_calls_are_made_and_it_is_said_once(
    weir: RunningWeir, own_valkey: OwnServer, way: str
) -> None:
    async def is_hit() -> bool:
        return await word(weir) == "hit"

    await until(is_hit)
    made = len(weir.arrivals)
    with capture_logs() as lines:
        if way == "killed":
            own_valkey.kill()
        else:
            own_valkey.freeze()
        async with asyncio.timeout(15):
            assert [await word(weir) for _ in range(20)] == ["miss"] * 20
        assert len(weir.arrivals) >= made + 20
        own_valkey.heal()
        await until(is_hit)

    said: list[Any] = [line["event"] for line in lines if line.get("dependency") == "cache"]
    assert said == ["dependency_lost", "dependency_back"]
