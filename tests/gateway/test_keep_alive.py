"""While an upstream is silent in the middle of a stream, its caller gets comments, which are nothing of the answer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.simulator.app import Simulator
from tests.fixtures.canned import CHUNKED, CannedUpstream, chunk, event
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, run_weir, with_changes, with_upstream
from tests.simulator.wire import Connection, Wire

MESSAGES: Any = [{"role": "user", "content": "Say hello."}]
STREAM: dict[str, Any] = {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True}
CONTENT = event({"choices": [{"index": 0, "delta": {"content": "one"}}]})
USAGE = event({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}})
DONE = event(b"[DONE]")
COMMENT = b": keep-alive\n\n"


@pytest.fixture
async def impatient(weir: RunningWeir, canned_weir: RunningWeir) -> AsyncIterator[RunningWeir]:
    """Yield a Weir in front of `canned` that writes a comment after a moment of silence."""
    settings = with_upstream(weir.settings, canned_weir.settings.openai_base_url)
    changes = {"gateway.keep_alive_seconds": 0.05, "upstream.between_chunks_timeout_seconds": 0.5}
    async with run_weir(with_changes(settings, changes), Simulator()) as running:
        running.api_key, running.admin_key = weir.api_key, weir.admin_key
        yield running
        await running.wiring.ledger.drain()


async def send(weir: RunningWeir, **headers: Any) -> Connection:
    connection = await Wire(weir.base_url).send(STREAM, authorization=f"Bearer {weir.api_key}", **headers)
    await asyncio.wait_for(connection.reader.readuntil(b"\r\n\r\n"), 20)
    return connection


async def comes_next(connection: Connection) -> bytes:
    """Return the data of the next chunk of the body."""
    size = int(await asyncio.wait_for(connection.reader.readuntil(b"\r\n"), 20), 16)
    return (await asyncio.wait_for(connection.reader.readexactly(size + 2), 20))[:-2]


async def all_pieces(connection: Connection, first: int, pause: asyncio.Event) -> list[bytes]:
    """Return the data of all chunks, of which *first* come before the *pause* of the upstream ends."""
    pieces = [await comes_next(connection) for _ in range(first)]
    pause.set()
    while pieces[-1]:
        pieces.append(await comes_next(connection))
    await connection.close()
    return pieces


async def test_comments_come_between_events_and_never_inside_one(
    impatient: RunningWeir, canned: CannedUpstream
) -> None:
    pause = asyncio.Event()
    canned.streams(CONTENT + CONTENT[:9], pause, CONTENT[9:] + USAGE + DONE)
    try:
        pieces = await all_pieces(await send(impatient), 4, pause)
    finally:
        pause.set()

    assert pieces[:4] == [CONTENT, COMMENT, COMMENT, COMMENT]
    assert b"".join(pieces).replace(COMMENT, b"") == CONTENT + CONTENT + DONE
    [entry] = await impatient.entries()
    assert (entry["ending"], entry["outcome"], entry["output_tokens"]) == ("settled", "completed", 10)


async def test_a_stream_that_is_taken_up_again_has_them_too(impatient: RunningWeir, canned: CannedUpstream) -> None:
    response = {"id": "resp_1", "object": "response", "output": []}
    first = event({"type": "response.in_progress", "sequence_number": 1, "response": response})
    last = event({"type": "response.completed", "sequence_number": 2, "response": response})
    canned.answers_json(response)
    async with impatient.openai() as client:
        await client.responses.create(model="gpt-4o-mini", input="Hello.")
    pause = asyncio.Event()
    canned.streams(first + last[:9], pause, last[9:])
    try:
        path, key = "/v1/responses/resp_1?stream=true", f"Bearer {impatient.api_key}"
        connection = await Wire(impatient.base_url).send(path=path, method="GET", authorization=key)
        await asyncio.wait_for(connection.reader.readuntil(b"\r\n\r\n"), 20)
        pieces = await all_pieces(connection, 3, pause)
    finally:
        pause.set()
    assert pieces[:3] == [first, COMMENT, COMMENT]
    assert b"".join(pieces).replace(COMMENT, b"") == first + last


async def test_the_sdk_does_not_see_them(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    canned.streams(CONTENT, COMMENT, COMMENT, CONTENT + USAGE + DONE)  # the very bytes, as if Weir had added them
    async with canned_weir.openai() as client:
        stream = await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True)
        texts = [chunk.choices[0].delta.content async for chunk in stream]
    assert texts == ["one", "one"]


async def test_comments_do_not_keep_a_dead_stream_alive(impatient: RunningWeir, canned: CannedUpstream) -> None:
    never = asyncio.Event()
    canned.answers(CHUNKED, chunk(CONTENT), never)
    try:
        received = await Wire(impatient.base_url).ask(STREAM, authorization=f"Bearer {impatient.api_key}")
    finally:
        never.set()
    assert received.body.count(COMMENT) >= 1
    assert "upstream_timeout" in received.events()[-1]
    [entry] = await impatient.entries()
    assert (entry["ending"], entry["outcome"], entry["output_tokens"]) == ("estimated", "upstream_broke", 1)


async def test_a_caller_who_leaves_between_comments_ends_the_call(
    impatient: RunningWeir, canned: CannedUpstream
) -> None:
    pause = asyncio.Event()
    canned.answers(CHUNKED, chunk(CONTENT), pause)
    try:
        connection = await send(impatient)
        assert [await comes_next(connection) for _ in range(2)] == [CONTENT, COMMENT]
        await connection.close()

        async def is_settled() -> bool:
            return bool(await impatient.entries())

        await until(is_settled)
    finally:
        pause.set()
    [entry] = await impatient.entries()
    assert (entry["ending"], entry["outcome"]) == ("estimated", "client_left")


async def test_comments_are_not_part_of_what_an_idempotency_key_gives_again(
    impatient: RunningWeir, canned: CannedUpstream
) -> None:
    pause = asyncio.Event()
    canned.streams(CONTENT, pause, CONTENT + USAGE + DONE)
    key = {"idempotency_key": f"key-{id(pause)}"}
    try:
        connection = await send(impatient, **key)
        assert [await comes_next(connection) for _ in range(2)] == [CONTENT, COMMENT]
        pause.set()
        await connection.reader.readuntil(DONE)
        await connection.close()
    finally:
        pause.set()
    await impatient.wiring.ledger.drain()
    again = await Wire(impatient.base_url).ask(STREAM, authorization=f"Bearer {impatient.api_key}", **key)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.body == CONTENT + CONTENT + DONE
    assert "server-timing" not in again.headers


@pytest.mark.parametrize("seconds", [0, 3_600])
async def test_without_them_nothing_is_added(weir: RunningWeir, seconds: float) -> None:
    changed = with_changes(weir.settings, {"gateway.keep_alive_seconds": seconds})
    async with run_weir(changed, weir.simulator) as patient, patient.openai(api_key=weir.api_key) as client:
        stream = await client.chat.completions.create(
            model="gpt-4o-mini", messages=MESSAGES, stream=True, extra_headers={"x-simulator": "output_tokens=3"}
        )
        raw = b"".join([piece async for piece in stream.response.aiter_bytes()])
    assert COMMENT not in raw
    assert raw.endswith(DONE)
