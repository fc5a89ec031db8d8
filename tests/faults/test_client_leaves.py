"""Callers that leave: the upstream is told at once, the row is written all the same, and nothing stays behind."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.canned import CHUNKED, CannedUpstream, chunk, event
from tests.fixtures.weir import RunningWeir
from tests.simulator.wire import Connection, Wire
from tests.upstreams.connections import in_use

HELLO: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
STREAM = {**HELLO, "stream": True}
INPUT_TOKENS = 7
CONTENT = event({"choices": [{"index": 0, "delta": {"content": "word"}}]})
USAGE_CHUNK = event({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}})
DONE = event(b"[DONE]")


async def send(weir: RunningWeir, document: dict[str, Any], script: str = "latency_ms=0") -> Connection:
    return await Wire(weir.base_url).send(document, authorization=f"Bearer {weir.api_key}", x_simulator=script)


async def wait_for_entries(weir: RunningWeir, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(20):
        while len(entries := await weir.entries()) < count:
            pass
    assert len(entries) == count
    return entries


async def wait_for_entry(weir: RunningWeir) -> dict[str, Any]:
    [entry] = await wait_for_entries(weir, 1)
    return entry


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0)


async def assert_nothing_stays_behind(weir: RunningWeir) -> None:
    client = weir.wiring.upstreams._client
    await until(lambda: in_use(client) == 0)
    await until(lambda: all(task.get_name() != "departure" for task in asyncio.all_tasks()))


@pytest.mark.parametrize("script", ["hang=before", "latency_ms=600000"])
async def test_a_caller_who_leaves_before_the_first_byte_cancels_the_upstream(weir: RunningWeir, script: str) -> None:
    connection = await send(weir, STREAM, script)
    await weir.simulator.account.wait_for_arrivals(1)
    await connection.close()

    [call] = await weir.simulator.account.wait_for_endings(1)
    assert call.ending == "client_left"
    entry = await wait_for_entry(weir)
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "client_left", 499)
    assert (entry["input_tokens"], entry["output_tokens"]) == (INPUT_TOKENS, 0)
    await assert_nothing_stays_behind(weir)


async def test_a_caller_who_leaves_after_one_chunk_pays_for_what_was_relayed(weir: RunningWeir) -> None:
    connection = await send(weir, STREAM, "hang=2")
    for _ in range(3):  # the role, and two chunks of content
        await connection.read_event()
    await connection.close()

    [call] = await weir.simulator.account.wait_for_endings(1)
    assert (call.ending, call.completion_tokens_sent) == ("client_left", 2)
    entry = await wait_for_entry(weir)
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "client_left", 200)
    assert (entry["input_tokens"], entry["output_tokens"] >= 2) == (INPUT_TOKENS, True)
    assert entry["cost_nano"] == entry["input_tokens"] * 150 + entry["output_tokens"] * 600
    await assert_nothing_stays_behind(weir)


async def test_a_caller_who_leaves_without_reading_stops_the_upstream(weir: RunningWeir) -> None:
    connection = await send(weir, STREAM, "output_tokens=1000000")
    await connection.read_event()
    connection.writer.transport.abort()

    [call] = await weir.simulator.account.wait_for_endings(1)
    assert call.ending == "client_left"
    assert call.completion_tokens_sent < 1_000_000
    assert (await wait_for_entry(weir))["outcome"] == "client_left"
    await assert_nothing_stays_behind(weir)


@pytest.mark.parametrize(
    ("before", "ending", "outcome", "output_tokens"),
    [
        (CONTENT, "estimated", "client_left", 1),
        (CONTENT + USAGE_CHUNK, "settled", "client_left", 10),
        (CONTENT + USAGE_CHUNK + DONE, "settled", "completed", 10),
        (CONTENT + DONE, "estimated", "no_usage", 1),
    ],
    ids=["before the usage", "after the usage", "after the end", "after an end without usage"],
)
async def test_what_had_arrived_when_the_caller_left_decides(
    canned_weir: RunningWeir, canned: CannedUpstream, before: bytes, ending: str, outcome: str, output_tokens: int
) -> None:
    never = asyncio.Event()
    canned.answers(CHUNKED, chunk(before), never)
    try:
        connection = await send(canned_weir, STREAM)
        while DONE not in (seen := await connection.read_event()) and CONTENT not in seen:
            pass
        await connection.close()
        entry = await wait_for_entry(canned_weir)
    finally:
        never.set()

    assert (entry["ending"], entry["outcome"], entry["status"]) == (ending, outcome, 200)
    assert entry["output_tokens"] == output_tokens
    await assert_nothing_stays_behind(canned_weir)


async def test_a_caller_who_leaves_while_a_streamed_request_is_answered_plainly_has_a_row(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    never = asyncio.Event()
    canned.answers(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{", never)
    try:
        connection = await send(canned_weir, STREAM)
        await until(lambda: len(canned.requests) == 1)
        await connection.close()
        entry = await wait_for_entry(canned_weir)
    finally:
        never.set()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "client_left", 499)
    await assert_nothing_stays_behind(canned_weir)


@pytest.mark.parametrize("document", [HELLO, {**HELLO, "stream": False}])
async def test_a_plain_call_is_finished_and_settled_exactly_for_a_caller_who_left(
    weir: RunningWeir, document: dict[str, Any]
) -> None:
    connection = await send(weir, document, "latency_ms=100")
    await weir.simulator.account.wait_for_arrivals(1)
    await connection.close()

    [call] = await weir.simulator.account.wait_for_endings(1)
    assert call.ending == "finished"
    entry = await wait_for_entry(weir)
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("settled", "completed", 200)
    assert (entry["input_tokens"], entry["output_tokens"]) == (call.prompt_tokens, call.completion_tokens)
    await assert_nothing_stays_behind(weir)


async def test_many_callers_who_leave_at_any_moment_are_each_one_row(weir: RunningWeir) -> None:
    async def leave_after(events: int) -> None:
        connection = await send(weir, STREAM, "tokens_per_second=2000;output_tokens=20")
        for _ in range(events):
            await connection.read_event()
        await connection.close()

    await asyncio.gather(*(leave_after(count) for count in range(1, 21)))

    await weir.simulator.account.wait_for_endings(20)
    entries = await wait_for_entries(weir, 20)
    assert len({entry["request_id"] for entry in entries}) == 20
    assert {entry["outcome"] for entry in entries} <= {"client_left", "completed"}
    await assert_nothing_stays_behind(weir)


async def test_the_official_sdk_can_close_a_stream_early(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        stream = await client.chat.completions.create(**STREAM, extra_headers={"x-simulator": "hang=1"})
        async for piece in stream:
            if piece.choices[0].delta.content:
                break
        await stream.close()
    [call] = await weir.simulator.account.wait_for_endings(1)
    assert call.ending == "client_left"
    assert (await wait_for_entry(weir))["outcome"] == "client_left"
