"""Callers who do odd things with their connections: half of one, many calls on one, bodies that stop, idle streams."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import orjson
import pytest

from tests.faults.test_client_leaves import assert_nothing_stays_behind, send, wait_for_entries
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir
from tests.gateway.socket_wire import RESPONSES, opened
from tests.simulator.wire import Connection

HELLO: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
STREAM = {**HELLO, "stream": True}
IDLE_STREAMS = 100


@asynccontextmanager
async def connected(weir: RunningWeir) -> AsyncIterator[Connection]:
    host, port = weir.base_url.removeprefix("http://").split(":")
    connection = Connection(*await asyncio.open_connection(host, int(port)))
    try:
        yield connection
    finally:
        with contextlib.suppress(ConnectionError):  # it was reset
            await connection.close()


def head(weir: RunningWeir, framing: str, **headers: str) -> bytes:
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    start = f"POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\nauthorization: Bearer {weir.api_key}\r\n"
    return f"{start}content-type: application/json\r\n{framing}\r\n{more}\r\n".encode()


def request(weir: RunningWeir, document: dict[str, Any], **headers: str) -> bytes:
    body = orjson.dumps(document)
    return head(weir, f"content-length: {len(body)}", **headers) + body


async def test_a_caller_who_closes_half_of_a_connection_has_left(weir: RunningWeir) -> None:
    async with connected(weir) as plain, connected(weir) as streamed:
        plain.writer.write(request(weir, HELLO, x_simulator="latency_ms=100"))
        streamed.writer.write(request(weir, STREAM, x_simulator="hang=1"))
        await weir.simulator.account.wait_for_arrivals(2)
        for each in (plain, streamed):
            each.writer.write_eof()
            assert (await asyncio.wait_for(each.reader.read(), 20))[-5:] != b"0\r\n\r\n"

        endings = {call.stream: call.ending for call in await weir.simulator.account.wait_for_endings(2)}
        assert endings == {False: "finished", True: "client_left"}
        entries = {entry["streamed"]: entry for entry in await wait_for_entries(weir, 2)}
    assert (entries[False]["ending"], entries[False]["outcome"]) == ("settled", "completed")
    assert (entries[True]["ending"], entries[True]["outcome"]) == ("estimated", "client_left")
    await assert_nothing_stays_behind(weir)


async def test_calls_that_are_sent_at_once_are_answered_one_after_the_other(weir: RunningWeir) -> None:
    async with connected(weir) as connection:
        first, second, third = (
            request(weir, {**HELLO, "max_tokens": 5}, x_request_id="the-first"),
            request(weir, STREAM, x_request_id="the-second", x_simulator="output_tokens=3"),
            request(weir, HELLO, x_request_id="the-third", connection="close", x_simulator="status=422"),
        )
        connection.writer.write(first + second)
        answers = await asyncio.wait_for(connection.reader.readuntil(b"data: [DONE]\n\n"), 20)
        connection.writer.write(third)
        answers += await asyncio.wait_for(connection.reader.read(), 20)

    assert [part.split(b" ")[0] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"422"]
    places = [answers.index(b"the-%b" % name) for name in (b"first", b"second", b"third")]
    assert places == sorted(places)
    assert answers.count(b"data: [DONE]\n\n") == 1
    assert len(await wait_for_entries(weir, 3)) == 3


async def test_a_caller_who_leaves_several_calls_that_were_sent_at_once_stops_the_one_that_runs(
    weir: RunningWeir,
) -> None:
    stream = request(weir, STREAM, x_simulator="tokens_per_second=200;output_tokens=1000000")
    async with connected(weir) as connection:
        connection.writer.write(stream + stream)
        await connection.read_event()
        connection.writer.transport.abort()

        [call] = await weir.simulator.account.wait_for_endings(1)
    assert call.ending == "client_left"
    [entry] = await wait_for_entries(weir, 1)
    assert (entry["ending"], entry["outcome"]) == ("estimated", "client_left")
    assert len(weir.arrivals) == 1
    await assert_nothing_stays_behind(weir)


@pytest.mark.parametrize("part", ['transfer-encoding: chunked\r\n\r\n5\r\n{"mod', 'content-length: 1000\r\n\r\n{"mod'])
async def test_a_body_that_stops_is_refused_and_its_connection_closed(
    weir: RunningWeir, start_weir: StartWeir, part: str
) -> None:
    impatient = await start_weir({"http.upload_timeout_seconds": 0.2})
    framing, _, beginning = part.partition("\r\n\r\n")
    async with connected(impatient) as connection:
        connection.writer.write(head(impatient, framing) + beginning.encode())
        received = await connection.read_all()

    assert received.status == 408
    assert received.headers["connection"] == "close"
    assert orjson.loads(received.body)["error"]["code"] == "request_timeout"
    assert await impatient.entries() == []
    assert await weir.sql("SELECT FROM reservations") == []
    assert len(weir.arrivals) == 0


async def test_a_slow_body_that_goes_on_is_read_and_a_departure_is_waited_for_without_end(
    weir: RunningWeir, start_weir: StartWeir
) -> None:
    impatient = await start_weir({"http.upload_timeout_seconds": 0.2})
    async with connected(impatient) as connection:
        whole = request(impatient, STREAM, x_simulator="latency_ms=500", connection="close")
        for start in range(0, len(whole), 20):
            connection.writer.write(whole[start : start + 20])
            await connection.writer.drain()
            await asyncio.sleep(0.02)
        received = await connection.read_all()
    assert received.status == 200
    assert received.events()[-1] == "[DONE]"


async def test_a_connection_on_which_nothing_is_asked_is_closed(start_weir: StartWeir) -> None:
    impatient = await start_weir({"server.keep_alive_seconds": 1})
    async with connected(impatient) as connection:
        assert await asyncio.wait_for(connection.reader.read(), 20) == b""


@pytest.mark.parametrize("beginning", [b"\r\n", b"G", b"GET /healthz HTTP/1.1\r\nhost: weir\r\n"])
async def test_a_head_that_stops_or_trickles_in_is_not_waited_for(start_weir: StartWeir, beginning: bytes) -> None:
    impatient = await start_weir({"server.keep_alive_seconds": 1})
    async with connected(impatient) as stopped, connected(impatient) as trickling:
        stopped.writer.write(beginning)

        async def trickle() -> None:
            for byte in itertools.chain(beginning, b"x-slow: ", itertools.repeat(ord("x"))):
                trickling.writer.write(bytes([byte]))
                await asyncio.sleep(0.02)

        task = asyncio.create_task(trickle())
        assert await asyncio.wait_for(stopped.reader.read(), 20) == b""
        with contextlib.suppress(ConnectionError):  # it is reset, as more is on its way
            assert await asyncio.wait_for(trickling.reader.read(), 20) == b""
        task.cancel()


async def test_what_is_asked_may_take_longer_than_is_waited_for_it(start_weir: StartWeir) -> None:
    impatient = await start_weir({"server.keep_alive_seconds": 1})
    async with opened(impatient, RESPONSES) as socket, connected(impatient) as connection:
        connection.writer.write(request(impatient, STREAM, x_simulator="latency_ms=1500", connection="close"))
        assert (await connection.read_all()).events()[-1] == "[DONE]"
        await socket.send({"type": "response.create", "model": "gpt-4o-mini", "input": "Say hello."})
        await socket.until("response.completed")


async def test_a_head_without_an_end_is_cut_off(weir: RunningWeir) -> None:
    async with connected(weir) as connection:
        connection.writer.write(b"GET /healthz HTTP/1.1\r\nx-long: ")
        with contextlib.suppress(ConnectionError):  # it is reset, as more is on its way
            for _ in range(100):
                connection.writer.write(b"x" * 100_000)
                await asyncio.wait_for(connection.writer.drain(), 20)
            assert await asyncio.wait_for(connection.reader.read(), 20) == b""


async def test_idle_streams_keep_their_connections_and_no_more(weir: RunningWeir, start_weir: StartWeir) -> None:
    changes = {"upstream.connections_max": IDLE_STREAMS, "upstream.connect_timeout_seconds": 1.0, "log.level": "error"}
    # Nor does Weir look by itself whether anybody is there, however slow this machine is: that takes a connection.
    narrow = await start_weir({**changes, "dispatch.stall_seconds": 60.0})
    async with AsyncExitStack() as stack:
        for _ in range(IDLE_STREAMS):
            connection = await send(narrow, STREAM, "hang=1")
            stack.push_async_callback(connection.close)
        await until(lambda: len(weir.arrivals) == IDLE_STREAMS, patience_seconds=60)
        async with narrow.http() as client:
            one_more = await client.post("/v1/chat/completions", json=HELLO)
            assert (await client.get("/healthz")).status_code == 200
    error = one_more.json()["error"]
    assert (one_more.status_code, error["type"], error["code"]) == (429, "upstream_error", "upstream_busy")
    assert one_more.headers["retry-after"] == "1"
    assert len(weir.arrivals) == IDLE_STREAMS
    entries = await wait_for_entries(narrow, IDLE_STREAMS)
    assert {entry["outcome"] for entry in entries} == {"client_left"}
    await assert_nothing_stays_behind(narrow)
    async with narrow.http() as client:
        assert (await client.post("/v1/chat/completions", json=HELLO)).status_code == 200
