"""Sockets to upstreams: where they lead, with which credential, and where next when one does not open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request

from app.core.clock import monotonic_seconds
from app.errors import UpstreamTimeout, UpstreamUnreachable
from app.observability.context import CallContext
from app.upstreams.failure import UpstreamFailed
from app.upstreams.routing import Plan, Target, Upstream
from app.upstreams.socket_service import OpenSocket, SocketOpener, model_query
from tests.fixtures.listening import listening
from tests.fixtures.weir import RunningWeir, StartWeir

HEADERS = [
    (b"authorization", b"Bearer the-callers"),
    (b"cookie", b"a=b"),
    (b"openai-beta", b"realtime=v1"),
    (b"sec-websocket-key", b"the-callers"),
    (b"content-type", b"application/json"),
]


@asynccontextmanager
async def server() -> AsyncIterator[tuple[str, list[Request]]]:
    """The address of a server that opens every socket, says hello and echoes once, and the requests that it got."""
    requests: list[Request] = []

    async def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        requests.append(connection.request)
        await connection.send("hello")
        await connection.send(await connection.recv())

    async with serve(handle, "127.0.0.1", 0) as running:
        yield f"http://127.0.0.1:{next(iter(running.sockets)).getsockname()[1]}", requests


async def opened(weir: RunningWeir, *upstreams: Upstream, model: str = "m") -> OpenSocket:
    opener: SocketOpener = weir.wiring.sockets._opener
    context = CallContext("req_1", monotonic_seconds(), "GET", "/v1/realtime")
    plan = Plan(tuple(Target(upstream, model) for upstream in upstreams))
    return await opener.open(plan, lambda target: f"/realtime?{model_query(target)}", HEADERS, (), context)


@pytest.mark.parametrize(
    ("changes", "address", "header", "value"),
    [
        ({}, "/realtime?model=their-m", "authorization", "Bearer planted"),
        ({"provider": "azure"}, "/openai/v1/realtime?model=their-m", "api-key", "planted"),
        (
            {"provider": "azure", "api_version": "2025-04-01-preview"},
            "/openai/realtime?api-version=2025-04-01-preview&deployment=their-m",
            "api-key",
            "planted",
        ),
    ],
)
async def test_every_provider_is_spoken_to_in_its_own_way(
    weir: RunningWeir, changes: dict[str, str], address: str, header: str, value: str
) -> None:
    async with server() as (url, requests):
        upstream = replace(Upstream("up", url, "planted", models=("m",), aliases={"m": "their-m"}), **changes)  # type: ignore[arg-type]
        open_socket = await opened(weir, upstream)
        try:
            assert await open_socket.socket.receive() == "hello"
            await open_socket.socket.send("ä")
            assert await open_socket.socket.receive() == "ä"
            assert await open_socket.socket.receive() is None
            assert open_socket.socket.ended() == "close code 1000"
            with pytest.raises(UpstreamFailed):
                await open_socket.socket.send("more")
        finally:
            await open_socket.close()
    [request] = requests
    assert request.path == address
    assert request.headers[header] == value
    assert "the-callers" not in str(request.headers)
    assert "cookie" not in request.headers
    assert request.headers["openai-beta"] == "realtime=v1"
    assert request.headers["x-request-id"] == "req_1"
    assert len(request.headers.get_all("connection")) == len(request.headers.get_all("upgrade")) == 1


async def test_where_one_does_not_open_the_next_is_tried_unless_it_is_for_another_model(weir: RunningWeir) -> None:
    dead = Upstream("dead", "http://127.0.0.1:9", "planted", models=("m",))
    async with server() as (url, _):
        alive = Upstream("alive", url, "planted", models=("m",))
        open_socket = await opened(weir, dead, alive)
        assert open_socket.target.upstream.name == "alive"
        await open_socket.close()
        opener: SocketOpener = weir.wiring.sockets._opener
        context = CallContext("req_1", monotonic_seconds(), "GET", "/v1/realtime")
        plan = Plan((Target(dead, "m"), Target(alive, "dearer")))
        with pytest.raises(UpstreamUnreachable):
            await opener.open(plan, lambda _: "/realtime", HEADERS, (), context)


async def test_a_server_that_does_not_answer_is_not_waited_for(start_weir: StartWeir) -> None:
    weir = await start_weir({"upstream.first_byte_timeout_seconds": 0.2})
    is_over = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await is_over.wait()
        writer.close()

    async with listening(hang) as address:
        with pytest.raises(UpstreamTimeout):
            await opened(weir, Upstream("silent", address, "planted", models=("m",)))
        is_over.set()


async def test_a_server_that_hangs_up_is_not_there(weir: RunningWeir) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with listening(hang_up) as address:
        with pytest.raises(UpstreamUnreachable):
            await opened(weir, Upstream("rude", address, "planted", models=("m",)))


async def test_whoever_leaves_meanwhile_takes_nobodys_place(weir: RunningWeir) -> None:
    arrived = asyncio.Event()
    is_over = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await is_over.wait()
        writer.close()

    async with listening(hang) as address:
        upstream = Upstream("narrow", address, "planted", models=("m",), calls_at_once=1)
        for _ in range(2):  # a place that was kept would leave none for the second
            arrived.clear()
            opening = asyncio.create_task(opened(weir, upstream))
            await arrived.wait()
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        is_over.set()
