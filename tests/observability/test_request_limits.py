import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import error_handlers
from app.observability.context import BODY_CAME
from app.observability.request_limits import BodyLimit, HeaderLimit, TrustedHosts

LIMIT = 1000


def echo() -> FastAPI:
    """Return an app that reads its body in the two ways FastAPI knows."""
    app = FastAPI()
    error_handlers.install(app)

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @app.post("/parsed")
    async def parsed(body: dict[str, str]) -> int:
        return len(body)

    return app


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(b"hello")(scope, receive, send)


async def talk(port: int, *parts: bytes) -> tuple[int, bytes]:
    """Send *parts* on a connection of their own and return the answer's status and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    size = next((int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")), -1)
    body = await reader.readexactly(size) if size >= 0 else await reader.read()
    writer.close()
    return int(head.split()[1]), body


def request(body_headers: bytes, body: bytes = b"", path: bytes = b"/raw") -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\nhost: localhost\r\n" + body_headers + b"\r\n" + body


def chunked(size: int, pieces: int) -> bytes:
    piece = b"%x\r\n" % size + b"x" * size + b"\r\n"
    return piece * pieces + b"0\r\n\r\n"


async def test_bodies_up_to_the_limit_are_read(serving: Any, watch: Any) -> None:
    async with serving(watch.around(BodyLimit(echo(), size_bytes_max=LIMIT))) as port:
        assert await talk(port, request(b"content-length: 1000\r\n", b"x" * LIMIT)) == (200, b"1000")
        assert await talk(port, request(b"transfer-encoding: chunked\r\n", chunked(100, 10))) == (200, b"1000")


async def test_a_declared_body_is_refused_before_it_is_sent(serving: Any, watch: Any) -> None:
    async with serving(watch.around(BodyLimit(echo(), size_bytes_max=LIMIT))) as port:
        status, body = await talk(port, request(b"content-length: 1001\r\n"))
    assert status == 413
    assert b'"code":"request_too_large"' in body
    assert watch.call["error_code"] == "request_too_large"
    assert watch.call["status"] == 413


@pytest.mark.parametrize("path", [b"/raw", b"/parsed"])
async def test_a_chunked_body_is_refused_while_it_is_read(serving: Any, watch: Any, path: bytes) -> None:
    headers = b"transfer-encoding: chunked\r\ncontent-type: application/json\r\n"
    async with serving(watch.around(BodyLimit(echo(), size_bytes_max=LIMIT))) as port:
        status, body = await talk(port, request(headers, b"", path), chunked(100, 11)[:-5])
    assert status == 413
    assert b'"code":"request_too_large"' in body
    assert watch.call["error_code"] == "request_too_large"
    assert watch.reports == []


async def test_a_refused_body_leaves_the_connection_usable(serving: Any, watch: Any) -> None:
    app = BodyLimit(echo(), size_bytes_max=LIMIT)
    async with serving(watch.around(app)) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.post("/raw", content=b"x" * 300_000)).status_code == 413
        assert (await client.post("/raw", content=b"x")).json() == 1


async def test_an_app_without_handlers_gets_its_large_body_refused_too(serving: Any, watch: Any) -> None:
    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass
        await hello(scope, receive, send)

    async with serving(watch.around(BodyLimit(reading, size_bytes_max=LIMIT))) as port:
        assert (await talk(port, request(b"transfer-encoding: chunked\r\n", chunked(100, 11))))[0] == 413
        assert (await talk(port, request(b"transfer-encoding: chunked\r\n", chunked(100, 10))))[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("content-length", "7")], 200),
        ([("content-length", "7"), ("content-length", "7")], 200),
        ([("content-length", "7"), ("content-length", "8")], 400),
        ([("content-length", "7, 8")], 400),
        ([("content-length", "-1")], 400),
        ([("content-length", "+7")], 400),
        ([("content-length", "1_0")], 400),
        ([("content-length", "0x7")], 400),
        ([("content-length", "")], 400),
        ([("content-length", "7"), ("transfer-encoding", "chunked")], 400),
        ([("content-length", "9" * 5000)], 413),
        ([], 200),
    ],
)
async def test_a_content_length_must_be_one_plain_number(watch: Any, headers: list[Any], status: int) -> None:
    answer = await run(watch.around(BodyLimit(hello, size_bytes_max=LIMIT)), headers)
    assert answer == status


@pytest.mark.parametrize(
    ("header", "is_here", "is_bounded"),
    [("content-length", True, False), ("content-length", False, True), ("transfer-encoding", True, True)],
)
async def test_a_body_of_the_declared_size_that_is_here_is_not_counted(
    header: str, is_here: bool, is_bounded: bool
) -> None:
    received: list[Receive] = []

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        received.append(receive)

    scope = {**scope_of([(header, "7" if header == "content-length" else "chunked")], "/"), BODY_CAME: is_here}
    await BodyLimit(app, size_bytes_max=LIMIT)(scope, empty, empty_send)
    assert (received[0] is not empty) == is_bounded


async def test_a_body_that_stops_is_refused_and_a_departure_is_waited_for_without_end(watch: Any) -> None:
    parts: list[Message] = [
        {"type": "http.request", "body": b"x", "more_body": more_body} for more_body in (True, False)
    ]
    statuses: list[int] = []

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.2)
        await hello(scope, receive, send)

    async def collect(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    for arriving in (parts, parts[:1]):
        waiting = list(arriving)

        async def receive(waiting: list[Message] = waiting) -> Message:
            return waiting.pop(0) if waiting else await asyncio.Future()

        limited = watch.around(BodyLimit(reading, size_bytes_max=LIMIT, timeout_seconds=0.1))
        async with asyncio.timeout(20):
            await limited(scope_of([("content-length", "2")], "/"), receive, collect)
    assert statuses == [200, 408]


async def test_a_request_without_a_body_has_nothing_that_is_bounded(watch: Any) -> None:
    assert await run(watch.around(BodyLimit(hello, size_bytes_max=0)), [("content-length", "0")]) == 200


async def test_many_headers_are_refused(watch: Any) -> None:
    limited = watch.around(HeaderLimit(hello, size_bytes_max=4096, count_max=20))
    assert await run(limited, [(f"x-{number}", "1") for number in range(20)]) == 200
    assert await run(limited, [(f"x-{number}", "1") for number in range(21)]) == 431


async def test_large_headers_are_refused(watch: Any) -> None:
    limited = watch.around(HeaderLimit(hello, size_bytes_max=4096, count_max=20))
    assert await run(limited, [("x-a", "v" * (4096 - 7))]) == 200
    assert await run(limited, [("x-a", "v" * (4096 - 6))]) == 431
    assert [line.get("error_code") for line in watch.lines] == [None, "headers_too_large"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("api.example.org", 200),
        ("API.Example.org:8443", 200),
        ("api.example.org.", 200),
        ("a.b.example.net", 200),
        ("[::1]:8000", 200),
        ("example.net", 400),
        ("evilexample.net", 400),
        ("api.example.org.evil.test", 400),
        ("api.example.org@evil.test", 400),
        ("api.example.org/../", 400),
        ("api.example.org:port", 400),
        ("api.example.org:80\r\nx-evil: 1", 400),
        ("api.example.org, evil.test", 400),
        ("", 400),
        (None, 400),
    ],
)
async def test_only_listed_hosts_are_served(watch: Any, host: str | None, status: int) -> None:
    guarded = watch.around(TrustedHosts(hello, hosts=["api.example.org", "*.example.net", "[::1]"]))
    assert await run(guarded, [] if host is None else [("host", host)]) == status


@pytest.mark.parametrize(("host", "status"), [("whatever.test:1", 200), ("what ever", 400), (None, 400)])
async def test_a_star_serves_every_wellformed_host(watch: Any, host: str | None, status: int) -> None:
    guarded = watch.around(TrustedHosts(hello, hosts=["*"]))
    assert await run(guarded, [] if host is None else [("host", host)]) == status


async def test_two_host_headers_are_refused(watch: Any) -> None:
    guarded = watch.around(TrustedHosts(hello, hosts=["*"]))
    assert await run(guarded, [("host", "a.test"), ("host", "b.test")]) == 400


async def test_probes_are_served_whatever_the_host(watch: Any) -> None:
    guarded = watch.around(TrustedHosts(hello, hosts=["api.example.org"]))
    assert await run(guarded, [("host", "10.0.0.7:8000")], path="/readyz") == 200


async def test_refusals_are_envelopes_with_an_id(ask: Any) -> None:
    answer = await ask(TrustedHosts(hello, hosts=["api.example.org"]), "/v1/models")
    assert answer.status_code == 400
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize(("kind", "passed"), [("websocket", 1), ("lifespan", 3)])
async def test_of_websockets_only_the_body_is_not_looked_at_and_all_else_passes(kind: str, passed: int) -> None:
    reached: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["type"])

    limits = (
        BodyLimit(app, size_bytes_max=0),
        HeaderLimit(app, size_bytes_max=0, count_max=0),
        TrustedHosts(app, hosts=()),
    )
    for limited in limits:
        await limited({"type": kind, "path": "/", "headers": [(b"a", b"b")]}, empty, empty_send)
    assert reached == [kind] * passed


async def test_starlettes_gzip_leaves_event_streams_alone() -> None:
    """Weir relies on it: a compressed stream would reach its client in clumps."""
    sent: list[Message] = []

    async def collect(message: Message) -> None:
        sent.append(message)

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        assert len(sent) == 1
        await send({"type": "http.response.body", "body": b"data: 1\n\n" * 1000, "more_body": True})
        assert len(sent) == 2
        await send({"type": "http.response.body", "body": b""})

    await GZipMiddleware(stream, minimum_size=1)(scope_of([("accept-encoding", "gzip")], "/"), empty, collect)
    assert b"content-encoding" not in dict(sent[0]["headers"])
    assert sent[1]["body"] == b"data: 1\n\n" * 1000


async def run(app: ASGIApp, headers: list[tuple[str, str]], path: str = "/v1/models") -> int:
    """Return the status of the answer to one request without a body."""
    statuses: list[int] = []

    async def collect(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope_of(headers, path), empty, collect)
    (status,) = statuses
    return status


def scope_of(headers: list[tuple[str, str]], path: str) -> Scope:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return {"type": "http", "method": "POST", "path": path, "headers": raw, "query_string": b""}


async def empty() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def empty_send(message: Message) -> None:
    pass
