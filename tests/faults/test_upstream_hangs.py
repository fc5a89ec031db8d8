"""Upstreams that fall silent, and upstreams that never end."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.fixtures.canned import CHUNKED, CannedUpstream, chunk, event
from tests.fixtures.weir import RunningWeir, StartWeir
from tests.simulator.wire import Wire

HELLO: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
STREAM = {**HELLO, "stream": True}
PLAIN_AND_STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
INPUT_TOKENS = 7


async def assert_timed_out(weir: RunningWeir, script: str, *, stream: bool) -> None:
    async with asyncio.timeout(20), weir.http() as client:
        document = {**HELLO, "stream": stream}
        answer = await client.post("/v1/chat/completions", json=document, headers={"x-simulator": script})
    assert answer.status_code == 504
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("upstream_error", "upstream_timeout")
    [call] = await weir.simulator.account.wait_for_endings(1)
    assert call.ending == "client_left"
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "upstream_broke", 504)
    assert (entry["input_tokens"], entry["output_tokens"]) == (INPUT_TOKENS, 0)


@PLAIN_AND_STREAMED
@pytest.mark.parametrize("setting", ["upstream.first_byte_timeout_seconds", "upstream.total_timeout_seconds"])
async def test_an_upstream_that_hangs_before_it_answers_is_given_up(
    weir: RunningWeir, start_weir: StartWeir, setting: str, stream: bool
) -> None:
    await assert_timed_out(await start_weir({setting: 0.1}), "hang=before", stream=stream)


@pytest.mark.parametrize("setting", ["upstream.between_chunks_timeout_seconds", "upstream.total_timeout_seconds"])
async def test_a_plain_answer_that_hangs_in_the_middle_is_given_up(
    weir: RunningWeir, start_weir: StartWeir, setting: str
) -> None:
    await assert_timed_out(await start_weir({setting: 0.2}), "hang=0", stream=False)


async def test_a_stream_that_hangs_in_the_middle_ends_in_an_error(weir: RunningWeir, start_weir: StartWeir) -> None:
    impatient = await start_weir({"upstream.between_chunks_timeout_seconds": 0.2})
    received = await Wire(impatient.base_url).ask(
        STREAM, authorization=f"Bearer {impatient.api_key}", x_simulator="hang=2"
    )
    await assert_ended_in_a_timeout(impatient, received.events())
    assert len(received.contents()) == 2
    [call] = await weir.simulator.account.wait_for_endings(1)
    assert call.ending == "client_left"


async def test_a_stream_that_never_ends_is_ended_though_it_is_never_silent(
    weir: RunningWeir, start_weir: StartWeir
) -> None:
    impatient = await start_weir({"upstream.total_timeout_seconds": 0.3})
    received = await Wire(impatient.base_url).ask(
        STREAM, authorization=f"Bearer {impatient.api_key}", x_simulator="tokens_per_second=200;output_tokens=100000"
    )
    await assert_ended_in_a_timeout(impatient, received.events())


async def test_a_stream_that_is_silent_after_its_end_was_whole(
    weir: RunningWeir, start_weir: StartWeir, canned: CannedUpstream, canned_weir: RunningWeir
) -> None:
    impatient = await start_weir(
        {
            "openai_base_url": canned_weir.settings.openai_base_url,
            "upstream.between_chunks_timeout_seconds": 0.1,
        }
    )
    never = asyncio.Event()
    usage = {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}
    canned.answers(CHUNKED, chunk(event(usage) + event(b"[DONE]")), never)
    try:
        received = await Wire(impatient.base_url).ask(STREAM, authorization=f"Bearer {impatient.api_key}")
    finally:
        never.set()
    assert received.events() == ["[DONE]"]
    [entry] = await impatient.entries()
    assert (entry["ending"], entry["outcome"]) == ("settled", "completed")


async def assert_ended_in_a_timeout(weir: RunningWeir, events: list[str]) -> None:
    assert "[DONE]" not in events
    error = orjson.loads(events[-1])["error"]
    assert (error["type"], error["code"]) == ("upstream_error", "upstream_timeout")
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "upstream_broke", 200)
    assert entry["output_tokens"] > 0
