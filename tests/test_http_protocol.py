"""Weir's HTTP protocol on real sockets, compared with uvicorn's where it is meant to do the same."""

import asyncio
import contextlib
import gc
import itertools
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.http_protocol import HttpProtocol
from app.observability.context import BODY_CAME
from tests.fixtures.asgi import serving as serving_asgi
from tests.fixtures.waiting import until

Headers = list[tuple[bytes, bytes]]
PATIENCE_SECONDS = 20
LENGTH = (b"content-length", b"5")
GET = b"GET / HTTP/1.1\r\nhost: weir\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n"


def answering(*headers: tuple[bytes, bytes], status: int = 200, body: bytes = b"hello") -> ASGIApp:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})

    return app


def in_pieces(framing: Headers) -> ASGIApp:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": framing})
        for piece in (b"one", b"", b"three"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
        with contextlib.suppress(RuntimeError):  # uvicorn's, for what comes behind the end
            await send({"type": "http.response.body", "body": b"more", "more_body": True})

    return app


def serving(app: ASGIApp, protocol: Any = HttpProtocol, **options: Any) -> AbstractAsyncContextManager[int]:
    off = dict.fromkeys(("access_log", "server_header", "date_header", "proxy_headers"), False)
    return serving_asgi(app, http=protocol, **{"headers": [("X-Default", "1")], **off, **options})


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader, writer
        finally:
            writer.close()


async def said(port: int, asked: bytes) -> bytes:
    """Return everything that comes back until the connection is closed."""
    async with connected(port) as (reader, writer):
        writer.write(asked)
        return await reader.read()


async def said_by_both(*cases: tuple[ASGIApp, bytes]) -> list[bytes]:
    """Return what Weir's protocol says to what each app is asked, which is what uvicorn's says."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await cases[int(scope["path"][1:])][0](scope, receive, send)

    async with serving(app) as ours, serving(app, HttpToolsProtocol) as uvicorns:
        asked = [asked.replace(b" / ", b" /%d " % number) for number, (_, asked) in enumerate(cases)]
        answers = [await said(ours, each) for each in asked]
        assert answers == [await said(uvicorns, each) for each in asked]
        return answers


@pytest.mark.parametrize("status", [200, 204, 299, 304, 503])
async def test_answers_are_framed_as_uvicorn_frames_them(status: int) -> None:
    framings: list[Headers] = [[], [LENGTH], [LENGTH, LENGTH], [(b"transfer-encoding", b"chunked")]]
    asked = [each.replace(b"GET", method) for method in (b"GET", b"HEAD") for each in (GET + LAST, LAST)]
    apps = [answering(*framing, (b"x-one", b"1"), status=status) for framing in framings]
    for answer in await said_by_both(*itertools.product(apps, asked)):
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nx-default: 1\r\n" in answer


async def test_usual_answers_are_what_they_are_expected_to_be() -> None:
    one = (b"x-one", b"1")
    plain, chunked = await said_by_both((answering(one, LENGTH), GET + LAST), (answering(one), GET + LAST))
    head = b"HTTP/1.1 200 OK\r\nx-default: 1\r\nx-one: 1\r\n"
    assert plain.startswith(head + b"content-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n")
    assert chunked.startswith(head + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("framing", [[], [(b"content-length", b"8")], [(b"transfer-encoding", b"chunked")]])
async def test_a_body_in_pieces_is_framed_as_uvicorn_frames_it(framing: Headers) -> None:
    app = in_pieces(framing)
    got, _ = await said_by_both((app, GET + LAST), (app, GET.replace(b"GET", b"HEAD") + LAST))
    body = b"onethree" if framing and framing[0][0] == b"content-length" else b"3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"
    assert got.count(b"\r\n\r\n" + body) == 2
    assert b"more" not in got


async def test_an_app_waits_for_a_caller_who_reads_slowly() -> None:
    size, pieces = 1_000_000, 50
    sent = 0
    connections: list[HttpProtocol] = []

    class Watched(HttpProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            connections.append(self)

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(pieces):
            await send({"type": "http.response.body", "body": bytes(size), "more_body": True})
            sent += 1
        await send({"type": "http.response.body"})

    async with serving(app, Watched) as port, connected(port) as (reader, writer):
        writer.write(LAST)
        await until(lambda: any(connection.flow.write_paused for connection in connections))
        for _ in range(100):
            await asyncio.sleep(0)
        assert sent < pieces
        assert (await reader.read()).count(b"f4240\r\n") == sent == pieces


OLD = b"GET / HTTP/1.0\r\n\r\n"


async def test_connections_are_closed_when_uvicorn_closes_them() -> None:
    closing = answering(LENGTH, (b"connection", b"close"))
    cases = [(closing, GET), (answering(LENGTH), LAST), (answering(LENGTH), OLD)]
    for answer in await said_by_both(*cases):
        assert b"\r\nconnection: close\r\n" in answer


@pytest.mark.parametrize("framing", [[], [(b"transfer-encoding", b"chunked")], [(b"content-length", b"8")]])
async def test_who_speaks_http_1_0_gets_no_chunks(framing: Headers) -> None:
    async with serving(in_pieces(framing)) as port:
        head, _, body = (await said(port, OLD)).partition(b"\r\n\r\n")
        of_head = await said(port, OLD.replace(b"GET", b"HEAD"))
    assert body == b"onethree"
    assert b"transfer-encoding" not in head + of_head
    assert head.endswith(b"\r\nconnection: close")
    assert of_head.endswith(b"\r\nconnection: close\r\n\r\n")


async def test_odd_headers_are_written_as_uvicorn_writes_them() -> None:
    odd: list[Headers] = [
        [(b"X-Upper", b"Case"), (b"Content-Length", b"5")],
        [(b"x-empty", b""), (b"x-tab", b"a\tb"), (b"x-latin", b"\xe9"), LENGTH],
        [(b"content-length", b"4")],
        [(b"content-length", b"6")],
    ]
    for answer in await said_by_both(*[(answering(*headers), GET + LAST) for headers in odd]):
        assert b" 200 OK\r\n" in answer


@pytest.mark.parametrize("framing", [[LENGTH], []])
async def test_what_could_break_out_of_a_header_is_never_written(framing: Headers) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        name, value = (bytes.fromhex(part) for part in scope["query_string"].decode().split("="))
        await answering((name, value), *framing)(scope, receive, send)

    async def written(port: int, name: bytes, value: bytes) -> bool:
        asked = GET.replace(b"/ ", f"/?{name.hex()}={value.hex()} ".encode())
        async with connected(port) as (reader, writer):
            writer.write(asked)
            head = await reader.read(1000)  # nothing, if the connection is closed instead
        if head:
            assert head.startswith(b"HTTP/1.1 200 OK\r\nx-default: 1\r\n" + name.lower() + b": " + value + b"\r\n")
        return head != b""

    controls = bytes([*range(32), 127])
    every_byte = [bytes([number]) for number in range(256)]
    async with serving(app) as port:
        names = [byte for byte in every_byte if await written(port, b"x-" + byte, b"v")]
        values = [byte for byte in every_byte if await written(port, b"x-a", b"v" + byte)]
    assert b"".join(names) == bytes(range(256)).translate(None, controls + b'()<>@,;:\\[]={} "')
    assert b"".join(values) == bytes(range(256)).translate(None, controls.replace(b"\t", b""))


async def test_a_connection_that_is_asked_on_stays_open_and_closes_when_it_is_not() -> None:
    async with serving(answering(LENGTH), timeout_keep_alive=1) as port, connected(port) as (reader, writer):
        until_seconds = asyncio.get_running_loop().time() + 1.5
        while asyncio.get_running_loop().time() < until_seconds:
            writer.write(GET)
            await reader.readuntil(b"hello")
            await asyncio.sleep(0.05)
        assert await reader.read() == b""


async def test_a_connection_is_not_closed_while_it_is_answered() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(2.5)
        await answering(LENGTH)(scope, receive, send)

    async with serving(slow, timeout_keep_alive=1) as port, connected(port) as (reader, writer):
        writer.write(GET)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


async def test_a_websocket_leaves_nothing_of_its_handshake_behind() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        assert not [each for each in gc.get_objects() if type(each) is HttpProtocol and each.timeout_keep_alive_task]
        await send({"type": "websocket.close"})

    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    asked = GET[:-2] + upgrade + b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    async with serving(app, ws="app.socket_protocol:SocketProtocol") as port, connected(port) as (reader, writer):
        writer.write(asked)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await reader.read(2) == b"\x88\x02"  # closed in good order


async def test_a_call_says_whether_its_whole_body_has_come() -> None:
    began = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        flags = [scope.get(BODY_CAME)]
        began.set()
        while (await receive())["more_body"]:
            pass
        flags.append(scope.get(BODY_CAME))
        body = repr(flags).encode()
        await answering((b"content-length", b"%d" % len(body)), body=body)(scope, receive, send)

    head = b"POST / HTTP/1.1\r\nhost: weir\r\ncontent-length: 2\r\n\r\n"
    async with serving(app) as port, connected(port) as (reader, writer):
        writer.write(head + b"ab")
        assert (await reader.readuntil(b"]")).endswith(b"[True, True]")
        began.clear()
        writer.write(head + b"a")
        await began.wait()
        writer.write(b"b")
        assert (await reader.readuntil(b"]")).endswith(b"[None, True]")


async def test_calls_that_are_sent_at_once_are_all_answered_and_so_are_those_after_them() -> None:
    async with serving(answering(LENGTH)) as port, connected(port) as (reader, writer):
        for asked in (GET + GET, GET, LAST):
            writer.write(asked)
            for _ in range(asked.count(b"GET")):
                assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


async def test_all_calls_on_a_connection_hear_that_it_is_lost() -> None:
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        heard.append((await receive())["type"])
        await answering(LENGTH)(scope, receive, send)  # to nobody

    async with serving(app) as port:
        async with connected(port) as (_, writer):
            writer.write(GET + GET)
            await writer.drain()
        await until(lambda: bool(heard))
    assert heard == ["http.disconnect"]


async def test_a_head_without_an_end_is_cut_off() -> None:
    async with serving(answering(LENGTH)) as port, connected(port) as (reader, writer):
        writer.write(GET[:-2] + b"x-long: ")
        with contextlib.suppress(ConnectionError):  # it is reset, as more is on its way
            for _ in range(100):
                writer.write(b"x" * 100_000)
                await writer.drain()
            assert await reader.read() == b""


def echoing(seen: list[Scope] | None = None) -> ASGIApp:
    """An application that answers with the body that it was sent."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if seen is not None:
            seen.append(scope)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


H2C = b"POST / HTTP/1.1\r\nhost: weir\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"


@pytest.mark.parametrize(
    "framed", [b"content-length: 5\r\n\r\nhello", b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("cut", [None, -1, -8, 120])
async def test_who_would_like_another_protocol_is_answered_in_this_one(framed: bytes, cut: int | None) -> None:
    asked = H2C + framed
    async with serving(echoing()) as port, connected(port) as (reader, writer):
        for part in [asked] if cut is None else [asked[:cut], asked[cut:]]:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write(LAST)
        answer = await reader.read()
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert b"hello" in answer


async def test_a_tunnel_is_refused() -> None:
    async with serving(echoing()) as port:
        answer = await said(port, b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


CHUNKED_POST = b"POST / HTTP/1.1\r\nhost: weir\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"


async def test_what_follows_a_body_is_no_header() -> None:
    seen: list[Scope] = []
    async with serving(echoing(seen)) as port:
        answer = await said(port, CHUNKED_POST + b"authorization: Bearer other\r\n\r\n" + LAST)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert [name for name, _ in seen[0]["headers"]] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize("trailer", [b"a: b\r\n", b"a"], ids=["fields", "one field"])
async def test_what_follows_a_body_without_an_end_is_cut_off(trailer: bytes) -> None:
    async with serving(answering(LENGTH)) as port, connected(port) as (reader, writer):
        writer.write(CHUNKED_POST)
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                writer.write(trailer * 10_000)
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):
                pass
        assert reader.at_eof() or reader.exception() is not None


async def test_few_calls_wait_on_one_connection_however_many_are_sent() -> None:
    waiting: list[int] = []

    class Watched(HttpProtocol):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            waiting.append(len(self.pipeline))

    asked = GET * 20_000
    async with serving(answering(LENGTH), Watched) as port, connected(port) as (reader, writer):
        sending = asyncio.create_task(write_all(writer, asked + LAST))
        answer = await reader.read()
        await sending
    assert answer.count(b"HTTP/1.1 200 OK") == 20_001
    in_one_read = 262_144 // len(GET)
    assert max(waiting) <= 2 * in_one_read < 20_000


async def write_all(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def test_a_client_that_takes_nothing_of_its_answer_is_cut_off() -> None:
    lost = asyncio.Event()

    class Watched(HttpProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set()

    body = b"x" * 100_000_000  # more than the kernel keeps on its way
    async with (
        serving(answering(body=body), Watched, timeout_keep_alive=1) as port,
        connected(port) as (reader, writer),
    ):
        writer.write(GET)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await lost.wait()


async def test_a_client_that_is_only_slow_gets_all_of_its_answer() -> None:
    body = b"x" * 16_000_000
    async with serving(answering(body=body), timeout_keep_alive=1) as port, connected(port) as (reader, writer):
        writer.write(LAST)
        received = 0
        for _ in range(20):
            received += len(await reader.read(1_000_000))
            await asyncio.sleep(0.1)
        received += len(await reader.read())
    assert received > len(body)
