"""Streams over the socket: unbuffered, the usage chunk only for those who asked, and never a clean end that is none."""

import asyncio
from typing import Any

import openai
import pytest

from tests.fixtures.canned import CHUNKED, LAST_CHUNK, CannedUpstream, chunk, event
from tests.fixtures.weir import RunningWeir
from tests.simulator.wire import Received, Wire

MESSAGES: Any = [{"role": "user", "content": "Say hello."}]
STREAM: dict[str, Any] = {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True}
ASKING = {**STREAM, "stream_options": {"include_usage": True}}
USAGE = {"prompt_tokens": 100, "completion_tokens": 10}
USAGE_CHUNK = event({"model": "gpt-4o-mini-2024-07-18", "choices": [], "usage": USAGE})
DONE = event(b"[DONE]")


def content(text: str) -> bytes:
    return event({"model": "gpt-4o-mini-2024-07-18", "choices": [{"index": 0, "delta": {"content": text}}]})


async def ask(weir: RunningWeir, document: dict[str, Any] = STREAM, **headers: str) -> Received:
    return await Wire(weir.base_url).ask(document, authorization=f"Bearer {weir.api_key}", **headers)


def body_of(received: Received) -> bytes:
    """Return the body without its chunk framing; it must have ended properly."""
    assert received.is_complete
    body, rest = b"", received.body
    while not rest.startswith(LAST_CHUNK):
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body, rest = body + rest[:length], rest[length + 2 :]
    return body


async def test_events_reach_the_caller_while_the_upstream_still_pauses(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    pauses = [asyncio.Event(), asyncio.Event()]
    canned.streams(content("one"), pauses[0], content("two"), pauses[1], USAGE_CHUNK, DONE)
    try:
        connection = await Wire(canned_weir.base_url).send(STREAM, authorization=f"Bearer {canned_weir.api_key}")
        head = await asyncio.wait_for(connection.reader.readuntil(b"\r\n\r\n"), 20)
        first = await connection.read_event()
        pauses[0].set()
        second = await connection.read_event()
        pauses[1].set()
        rest = await asyncio.wait_for(connection.reader.read(), 20)
    finally:
        for pause in pauses:
            pause.set()
    await connection.close()

    assert first.endswith(content("one"))
    assert second.endswith(content("two"))
    assert rest.endswith(DONE + b"\r\n" + LAST_CHUNK)
    headers = dict(line.split(b": ", 1) for line in head.strip().split(b"\r\n")[1:])
    assert headers[b"content-type"] == b"text/event-stream"
    assert headers[b"cache-control"] == b"no-cache"
    assert headers[b"x-accel-buffering"] == b"no"
    assert headers[b"x-request-id"].startswith(b"req_")
    assert b"x-weir-cost-usd" not in headers


async def test_the_usage_chunk_is_shown_to_those_who_asked_for_it(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        asked = [chunk async for chunk in await client.chat.completions.create(**ASKING)]
        unasked = [chunk async for chunk in await client.chat.completions.create(**STREAM)]

    assert asked[-1].choices == []
    assert asked[-1].usage is not None
    assert all(chunk.choices and chunk.usage is None for chunk in unasked)
    assert len(asked) == len(unasked) + 1
    entries = await weir.entries()
    calls = weir.arrivals
    assert [entry["output_tokens"] for entry in entries] == [call.completion_tokens for call in calls]
    assert {(entry["ending"], entry["outcome"]) for entry in entries} == {("settled", "completed")}


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size_bytes", [1, 7, 10_000])
async def test_a_stream_is_relayed_byte_for_byte_however_it_was_cut_up(
    canned_weir: RunningWeir, canned: CannedUpstream, line_end: bytes, size_bytes: int
) -> None:
    text = 'she wrote: data: [DONE]\n\n"usage": {"prompt_tokens": 1, "completion_tokens": 1} and "error": {}'
    visible = (b": ping\n\n" + content(text) + b'data: { "choices":[],\n' + b'data: "new":[1, 2] }\n\n').replace(
        b"\n", line_end
    )
    data = visible + USAGE_CHUNK.replace(b"\n", line_end) + DONE.replace(b"\n", line_end)
    canned.streams(*(data[start : start + size_bytes] for start in range(0, len(data), size_bytes)))

    assert body_of(await ask(canned_weir)) == visible + DONE.replace(b"\n", line_end)
    assert body_of(await ask(canned_weir, ASKING)) == data
    for entry in await canned_weir.entries():
        assert (entry["ending"], entry["outcome"], entry["status"]) == ("settled", "completed", 200)
        assert (entry["input_tokens"], entry["output_tokens"]) == (100, 10)
        assert (entry["cost_nano"], entry["answered_model"]) == (100 * 150 + 10 * 600, "gpt-4o-mini-2024-07-18")


async def test_an_event_stream_is_never_compressed(weir: RunningWeir) -> None:
    received = await ask(weir, accept_encoding="gzip", x_simulator="output_tokens=2000")
    assert "content-encoding" not in received.headers
    assert len(received.contents()) == 2000


async def test_a_stream_that_nobody_asked_for_is_relayed_as_one(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    head = CHUNKED.replace(b"text/event-stream", b"Text/Event-Stream; charset=utf-8")
    canned.answers(head, chunk(content("a") + USAGE_CHUNK + DONE), LAST_CHUNK)
    received = await ask(canned_weir, {"model": "gpt-4o-mini", "messages": MESSAGES})
    assert body_of(received) == content("a") + USAGE_CHUNK + DONE
    [entry] = await canned_weir.entries()
    assert (entry["ending"], entry["streamed"]) == ("settled", False)


async def test_a_plain_answer_to_a_streamed_request_is_relayed_as_one(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    canned.answers_json({"choices": [], "usage": USAGE})
    async with canned_weir.http() as client:
        answer = await client.post("/v1/chat/completions", json=STREAM)
    assert answer.json() == {"choices": [], "usage": USAGE}
    [entry] = await canned_weir.entries()
    assert (entry["ending"], entry["streamed"]) == ("settled", True)


@pytest.mark.parametrize("ending", [b"data: [DONE]", b"data: [DONE]\n", b"data:[DONE]\r\n"])
async def test_a_last_event_without_its_empty_line_is_an_end_too(
    canned_weir: RunningWeir, canned: CannedUpstream, ending: bytes
) -> None:
    canned.streams(content("a"), USAGE_CHUNK, ending)
    assert body_of(await ask(canned_weir)) == content("a") + ending + b"\n\n"
    [entry] = await canned_weir.entries()
    assert (entry["ending"], entry["outcome"]) == ("settled", "completed")


async def test_a_stream_without_usage_is_counted(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    canned.streams(content("word"), content("word"), DONE)
    assert body_of(await ask(canned_weir)).endswith(DONE)
    [entry] = await canned_weir.entries()
    assert (entry["ending"], entry["outcome"]) == ("estimated", "no_usage")
    assert (entry["input_tokens"], entry["output_tokens"]) == (7, 2)
    assert entry["cost_nano"] == 7 * 150 + 2 * 600


async def test_the_official_sdk_raises_what_it_would_raise_at_openai(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        for script in ("cut_after=2", "eof_after=2", "error_after=2", "cut_after=0"):
            stream = await client.chat.completions.create(**STREAM, extra_headers={"x-simulator": script})
            with pytest.raises(openai.APIError) as caught:
                async for _ in stream:
                    pass
            assert caught.value.type in {"upstream_error", "server_error"}
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(**STREAM, extra_headers={"x-simulator": "status=429"})
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(**STREAM, extra_headers={"x-simulator": "status=503"})
