"""Upstreams that send their answer a byte at a time: it arrives whole, and one that has no end is ended."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import orjson
import pytest

from app.simulator.app import Simulator
from tests.fixtures.canned import CHUNKED, LAST_CHUNK, chunk, event
from tests.fixtures.listening import listening
from tests.fixtures.weir import RunningWeir, run_weir, with_changes, with_upstream
from tests.simulator.wire import Wire

HELLO = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
USAGE = {"prompt_tokens": 100, "completion_tokens": 10}
EVENTS = [event({"choices": [{"index": 0, "delta": {"content": "word"}}]}), event({"choices": [], "usage": USAGE})]
DONE = event(b"[DONE]")
WHOLE = orjson.dumps({"id": "chatcmpl-1", "choices": [], "usage": USAGE})
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(WHOLE)
STREAM_BYTES = b"".join(chunk(bytes([byte])) for each in (*EVENTS, DONE) for byte in each)

CHANGES = {"upstream.total_timeout_seconds": 2.0, "gateway.keep_alive_seconds": 0.5}
COMMENT = b": keep-alive\n\n"


class Dripping:
    """Writes `head` and then `body` byte by byte to whoever asks, then spaces for ever while it `goes_on`."""

    def __init__(self) -> None:
        self.head = b""
        self.body = b""
        self.goes_on = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            writer.write(self.head)
            for byte in self.body:
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            while self.goes_on:
                writer.write(chunk(b" "))
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[Dripping, str]]:
    dripping = Dripping()
    async with listening(dripping.serve) as address:
        yield dripping, f"{address}/v1"
        dripping.goes_on = False


@pytest.fixture
def dripping(upstream: tuple[Dripping, str]) -> Dripping:
    return upstream[0]


@pytest.fixture
async def weir_behind(weir: RunningWeir, upstream: tuple[Dripping, str]) -> AsyncIterator[RunningWeir]:
    """Yield a Weir in front of `dripping` that waits for the end of an answer, but not for ever."""
    settings = with_changes(with_upstream(weir.settings, upstream[1]), CHANGES)
    async with run_weir(settings, Simulator()) as running:
        running.api_key = weir.api_key
        yield running
        await running.wiring.ledger.drain()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_an_answer_that_comes_byte_by_byte_arrives_whole(
    weir_behind: RunningWeir, dripping: Dripping, stream: bool
) -> None:
    dripping.body = CHUNKED + STREAM_BYTES + LAST_CHUNK if stream else JSON_HEAD + WHOLE
    async with weir_behind.http() as client:
        asked = {**HELLO, "stream": stream, **({"stream_options": {"include_usage": True}} if stream else {})}
        answer = await client.post("/v1/chat/completions", json=asked)

    content = answer.content.replace(COMMENT, b"")  # it may have been slow
    assert (answer.status_code, content) == (200, b"".join((*EVENTS, DONE)) if stream else WHOLE)
    [entry] = await weir_behind.entries()
    assert (entry["ending"], entry["outcome"]) == ("settled", "completed")
    assert (entry["input_tokens"], entry["output_tokens"]) == (100, 10)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_an_answer_of_one_byte_at_a_time_that_never_ends_is_ended(
    weir_behind: RunningWeir, dripping: Dripping, stream: bool
) -> None:
    dripping.goes_on = True
    dripping.head = CHUNKED if stream else CHUNKED.replace(b"text/event-stream", b"application/json")
    async with asyncio.timeout(20):
        received = await Wire(weir_behind.base_url).ask(
            {**HELLO, "stream": stream}, authorization=f"Bearer {weir_behind.api_key}"
        )

    assert received.status == (200 if stream else 504)
    assert b"[DONE]" not in received.body
    assert (COMMENT in received.body) == stream  # no event is whole: bytes come, but nothing that may be relayed
    error = orjson.loads(received.events()[-1] if stream else received.body)["error"]
    assert (error["type"], error["code"]) == ("upstream_error", "upstream_timeout")
    [entry] = await weir_behind.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "upstream_broke", received.status)
    assert (entry["input_tokens"], entry["output_tokens"]) == (7, 0)
