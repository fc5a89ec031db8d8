"""Serves a simulator on a loopback port: inside a running event loop, or as a process of its own.

It never touches the process's signal handlers or loggers when it runs inside another program, and stops within about a
second whatever is still open.
"""

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from app.simulator.app import Simulator, create_simulator
from app.simulator.exchange import TRANSPORT_EXTENSION

# Longer than the idle time of usual connection pools, so that a client never picks a connection that is being closed.
_KEEP_ALIVE_SECONDS = 75


@contextlib.asynccontextmanager
async def serve_simulator(simulator: Simulator, port: int = 0) -> AsyncIterator[str]:
    """Serve *simulator* on 127.0.0.1 for as long as the block runs; yields its base URL, `http://127.0.0.1:41234/v1`.

    Port 0 takes a free one. Answers still open at the end are cut. Raises OSError when the port is taken.
    """
    listener = socket.create_server(("127.0.0.1", port), backlog=2048)
    # Asyncio does this only for sockets that name their protocol; without it every answer waits 40 ms for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = _EmbeddedServer(_config(simulator), simulator)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        # The socket listens already: who connects before the server's first turn just waits for it.
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        await serving


def run(port: int, *, host: str = "127.0.0.1", api_key: str | None = None) -> None:
    """Serve a simulator until the process is told to stop (SIGINT, SIGTERM). Raises OSError when the port is taken."""
    simulator = create_simulator(api_key=api_key)
    listener = socket.create_server((host, port), backlog=2048)
    # The account keeps many small objects: fewer collections, and none of them looks at the imported modules.
    gc.freeze()
    gc.set_threshold(10_000)
    with contextlib.suppress(KeyboardInterrupt):
        _Server(_config(simulator), simulator).run(sockets=[listener])


class _Protocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol, with the transport in the scope: only so can an application break off its answer."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.access_log = False

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT_EXTENSION: self.transport}  # type: ignore[dict-item]


class _SocketProtocol(WebSocketsSansIOProtocol):
    """The same for WebSockets."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self.scope["extensions"][TRANSPORT_EXTENSION] = self.transport  # type: ignore[assignment]


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, simulator: Simulator) -> None:
        super().__init__(config)
        self._simulator = simulator

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._simulator.is_stopping = False
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._simulator.is_stopping = True
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)


class _EmbeddedServer(_Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(simulator: Simulator) -> uvicorn.Config:
    return uvicorn.Config(
        simulator,
        http=_Protocol,
        ws=_SocketProtocol,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
    )
