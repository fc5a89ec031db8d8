"""Server-Timing tells apart what the upstream took, what Weir took, and what earlier attempts took."""

import re
from typing import Any

import pytest

from tests.fixtures.weir import RunningWeir

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
TIMING = re.compile(r"upstream;dur=(\d+\.\d), gateway;dur=(\d+\.\d)(?:, retries;dur=(\d+\.\d))?")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_upstreams_time_is_not_counted_as_weirs(weir: RunningWeir, stream: bool) -> None:
    async with weir.http() as client:
        answer = await client.post(
            "/v1/chat/completions", json={**ASK, "stream": stream}, headers={"x-simulator": "latency_ms=200"}
        )
    timing = TIMING.fullmatch(answer.headers["server-timing"])
    assert timing is not None
    assert float(timing[1]) >= 200
    assert timing[3] is None
    [entry] = await weir.entries()
    measured_ms = (entry["upstream_us"] + entry["gateway_us"]) / 1_000
    assert 0 < float(timing[1]) + float(timing[2]) <= measured_ms + 0.2
