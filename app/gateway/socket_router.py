"""The door of WebSockets. Who may not come in, or wants what is not there, gets JSON before there is a socket."""

from collections.abc import Callable, Coroutine
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.gateway.answer import Inbound
from app.gateway.socket import ClientGone, ClientSocket, Left
from app.gateway.socket_service import Arrival, GatewaySockets
from app.keys.auth import authenticate_project
from app.observability.context import call_context
from app.socket_errors import UpgradeRequired

_KEY: Final = "openai-insecure-api-key."
"""Browsers cannot send headers; this is how OpenAI lets them name a key."""
_REALTIME: Final = "realtime"
_UPSTREAM_PREFIX: Final = "openai-beta."
_STOPPING: Final = 1012
_REASON_BYTES_MAX: Final = 123

router = APIRouter(include_in_schema=False)
"""Not described, as OpenAPI knows no WebSockets: docs/realtime.md does."""


class SocketEndpoint:
    """One WebSocket, run by a method of `GatewaySockets`."""

    def __init__(self, run: Callable[[GatewaySockets, Arrival], Coroutine[Any, Any, None]]) -> None:
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate, open, relay; errors before it is open become JSON outside of here."""
        websocket = WebSocket(scope, receive, send)
        offered = websocket.scope["subprotocols"]
        http = Request({**scope, "type": "http", "method": "GET", "headers": _with_key(websocket)})
        gateway: GatewaySockets = websocket.app.state.wiring.sockets
        context = call_context(scope)
        context.route = scope["path"]  # it has no parameters
        caller = await authenticate_project(http)

        async def accept(chosen: str | None) -> ClientSocket:
            await websocket.receive()  # websocket.connect
            # Browsers give up on a server that takes none of those they offer.
            default = _REALTIME if _REALTIME in offered else None
            await websocket.accept(chosen if chosen in offered else default)
            return _Client(websocket)

        await self._run(
            gateway,
            Arrival(
                caller,
                context,
                Inbound(websocket.headers.raw, websocket.url.query),
                tuple(parse_qsl(websocket.url.query, keep_blank_values=True)),
                tuple(name for name in offered if name == _REALTIME or name.startswith(_UPSTREAM_PREFIX)),
                accept,
                lambda: authenticate_project(http),
            ),
        )


class _Client(ClientSocket):
    """The caller's end."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> str | bytes | Left:
        """Return the next message, or that there is none any more."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return Left(is_stopping=message.get("code") == _STOPPING)
        text: str | None = message.get("text")
        return text if text is not None else bytes(message["bytes"])

    async def send(self, message: str | bytes) -> None:
        """Send a message; raises ClientGone."""
        kind = "text" if isinstance(message, str) else "bytes"
        await self._send({"type": "websocket.send", kind: message})

    async def close(self, code: int, reason: str) -> None:
        """Close the socket."""
        reason = reason.encode()[:_REASON_BYTES_MAX].decode(errors="ignore")
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            await self._websocket.send(message)
        except (WebSocketDisconnect, RuntimeError) as error:  # the server, or the framework, knows that it is closed
            raise ClientGone from error


def _with_key(websocket: WebSocket) -> list[tuple[bytes, bytes]]:
    """Return the headers, with the key that came as a subprotocol where none came as it should."""
    headers: list[tuple[bytes, bytes]] = websocket.headers.raw
    if "authorization" in websocket.headers:
        return headers
    keys = [name.removeprefix(_KEY) for name in websocket.scope["subprotocols"] if name.startswith(_KEY)]
    return [*headers, *((b"authorization", b"Bearer " + key.encode()) for key in keys)]


async def _refuse_plain_request(_: Request) -> None:
    """Answer 426: there is a WebSocket here (https://platform.openai.com/docs/guides/realtime-websocket)."""
    raise UpgradeRequired


for _path, _run in (("/realtime", GatewaySockets.run_realtime), ("/responses", GatewaySockets.run_responses)):
    router.routes.append(WebSocketRoute(_path, SocketEndpoint(_run), name=_run.__name__))
    router.add_api_route(_path, _refuse_plain_request, methods=["GET"], response_model=None)
