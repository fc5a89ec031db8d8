"""Streams that break: the caller gets what there was, an error event, and no `[DONE]`; the ledger what was relayed."""

from typing import Any

import orjson
import pytest

from tests.fixtures.canned import CHUNKED, CannedUpstream, chunk, event
from tests.fixtures.weir import RunningWeir
from tests.simulator.wire import Received, Wire

MESSAGES: Any = [{"role": "user", "content": "Say hello."}]
STREAM: dict[str, Any] = {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True}
INPUT_TOKENS = 7
CONTENT = event({"choices": [{"index": 0, "delta": {"content": "word"}}]})
USAGE_CHUNK = event({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}})
DONE = event(b"[DONE]")


async def ask(weir: RunningWeir, **headers: str) -> Received:
    return await Wire(weir.base_url).ask(STREAM, authorization=f"Bearer {weir.api_key}", **headers)


def last_error(received: Received) -> dict[str, Any]:
    error: dict[str, Any] = orjson.loads(received.events()[-1])["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize("cut", ["cut_after", "eof_after"])
@pytest.mark.parametrize("count", range(6))
async def test_a_cut_stream_ends_in_an_error_and_is_charged_for_what_was_relayed(
    weir: RunningWeir, cut: str, count: int
) -> None:
    received = await ask(weir, x_simulator=f"output_tokens=5;{cut}={count}")

    assert received.status == 200
    assert len(received.contents()) == count
    assert "[DONE]" not in received.events()
    error = last_error(received)
    code = "upstream_unreachable" if cut == "cut_after" else "upstream_invalid_response"
    assert (error["type"], error["code"]) == ("upstream_error", code)
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "upstream_broke", 200)
    # At least a token for each event with text in it, however short.
    assert (entry["input_tokens"], entry["output_tokens"] >= count) == (INPUT_TOKENS, True)
    assert entry["cost_nano"] == entry["input_tokens"] * 150 + entry["output_tokens"] * 600


@pytest.mark.parametrize("parts", [(CHUNKED,), (CHUNKED, b"5\r\n"), (CHUNKED, b"0\r\n\r\n")])
async def test_a_stream_cut_before_its_first_byte_is_still_a_json_error(
    canned_weir: RunningWeir, canned: CannedUpstream, parts: tuple[bytes, ...]
) -> None:
    canned.answers(*parts)
    async with canned_weir.http() as client:
        answer = await client.post("/v1/chat/completions", json=STREAM)
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["code"] == "upstream_unreachable"
    [entry] = await canned_weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "upstream_broke", 502)
    assert (entry["input_tokens"], entry["output_tokens"]) == (INPUT_TOKENS, 0)


async def test_an_event_that_was_cut_in_half_is_not_relayed(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    canned.answers(CHUNKED, chunk(CONTENT + CONTENT[:-10]))
    received = await ask(canned_weir)
    assert len(received.contents()) == 0
    assert [event[:11] for event in received.events()] == ['{"choices":', '{"error":{"']
    [entry] = await canned_weir.entries()
    assert (entry["outcome"], entry["output_tokens"]) == ("upstream_broke", 1)


async def test_a_stream_cut_after_its_usage_is_charged_exactly(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    canned.answers(CHUNKED, chunk(CONTENT + USAGE_CHUNK))
    received = await ask(canned_weir)
    assert "[DONE]" not in received.events()
    assert last_error(received)["type"] == "upstream_error"
    [entry] = await canned_weir.entries()
    assert (entry["ending"], entry["outcome"]) == ("settled", "upstream_broke")
    assert (entry["input_tokens"], entry["output_tokens"]) == (100, 10)


async def test_a_stream_cut_after_its_end_was_whole(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    canned.answers(CHUNKED, chunk(CONTENT + USAGE_CHUNK + DONE))
    received = await ask(canned_weir)
    assert received.events()[-1] == "[DONE]"
    assert received.is_complete
    [entry] = await canned_weir.entries()
    assert (entry["ending"], entry["outcome"]) == ("settled", "completed")


async def test_an_upstreams_own_error_event_is_relayed_and_no_second_one_added(weir: RunningWeir) -> None:
    received = await ask(weir, x_simulator="error_after=3;error_code=server_error_of_its_own")
    assert len(received.contents()) == 3
    assert [event for event in received.events() if '"error"' in event] == [received.events()[-1]]
    assert last_error(received)["code"] == "server_error_of_its_own"
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "upstream_broke", 200)


async def test_an_event_without_end_is_given_up(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    canned.answers(CHUNKED, chunk(CONTENT), *[chunk(b"data: " + b"x" * 1_000_000)] * 18)
    received = await ask(canned_weir)
    error = last_error(received)
    assert (error["type"], error["code"]) == ("upstream_error", "upstream_invalid_response")
    assert len(received.events()) == 2
    [entry] = await canned_weir.entries()
    assert (entry["ending"], entry["outcome"], entry["output_tokens"]) == ("estimated", "upstream_broke", 1)


async def test_a_giant_event_that_ends_is_relayed(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    giant = event({"choices": [{"index": 0, "delta": {"content": "x" * 4_000_000}}]})
    canned.streams(giant, DONE)
    received = await ask(canned_weir)
    assert received.is_complete
    assert received.events()[-1] == "[DONE]"
    [entry] = await canned_weir.entries()
    assert entry["output_tokens"] == 1_000_000


async def test_a_broken_event_is_relayed_as_it_came_and_the_rest_after_it(weir: RunningWeir) -> None:
    received = await ask(weir, x_simulator="malformed=json;output_tokens=4")
    assert received.events()[-1] == "[DONE]"
    [entry] = await weir.entries()
    [call] = weir.arrivals
    assert (entry["ending"], entry["output_tokens"]) == ("settled", call.completion_tokens)


@pytest.mark.parametrize("choices", [5, "text", None, [{"delta": {"tool_calls": 5}}]])
async def test_a_stream_of_nonsense_that_breaks_has_its_row(
    canned_weir: RunningWeir, canned: CannedUpstream, choices: object
) -> None:
    canned.answers(CHUNKED, chunk(event({"choices": choices})))
    received = await ask(canned_weir)
    assert last_error(received)["type"] == "upstream_error"
    [entry] = await canned_weir.entries()
    assert (entry["ending"], entry["outcome"], entry["output_tokens"]) == ("estimated", "upstream_broke", 0)
