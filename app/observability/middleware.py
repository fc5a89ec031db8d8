"""The outermost layer of every call, a WebSocket too: its id, headers, one log line, and the end of every exception.

Pure ASGI, as it runs on every call. It must never log a header, a query string or a body.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from operator import attrgetter
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.clock import monotonic_seconds
from app.core.ids import is_request_id, new_id
from app.error_handlers import render
from app.errors import Bug, Operational, Refusal, WeirError
from app.observability.context import QUIET_PATHS, SCOPE_KEY, CallContext
from app.observability.lifecycle import route_template
from app.observability.logging import Logger
from app.observability.metrics import Metrics
from app.observability.response_headers import with_weir_headers
from app.observability.sentry import capture
from app.observability.tracing import Tracer

_PATH_CHARACTERS_MAX = 256
_SWITCHING_PROTOCOLS = 101
# A WebSocket that is not opened is answered as if it had been a plain request.
_STARTS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})
_BODIES = frozenset({"http.response.body", "websocket.http.response.body"})

Report = Callable[[BaseException, str], None]
"""Told about each bug: the exception and the id of its call."""


class CallMiddleware:
    """Gives each call a CallContext, makes every exception an answer, and writes down how the call went."""

    def __init__(
        self, app: ASGIApp, *, logger: Logger, metrics: Metrics, tracer: Tracer, report: Report = capture
    ) -> None:
        self.app = app
        self._logger = logger
        self._metrics = metrics
        self._tracer = tracer
        self._report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one call; only what is no Exception, such as a cancellation, leaves."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        call = CallContext(_request_id(scope), monotonic_seconds(), scope.get("method", "GET"), scope["path"])
        call.address = scope["client"][0] if scope.get("client") else None
        scope[SCOPE_KEY] = call
        receive, send = partial(_receive, call, receive), partial(_send, call, send)
        self._tracer.start_call(call, scope)
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:
            call.client_left = True
        except Exception as error:  # noqa: BLE001 - behind this line there is only the server
            known = self._identify(error, call)
            call.fail(known)
            # After the first byte the connection is left to break: a cut answer must not look like a whole one.
            if call.status is None:
                await render(known)(scope, receive, send)
        finally:
            self._finish(call, scope)

    def _identify(self, error: Exception, call: CallContext) -> WeirError:
        """Return what the client may know of *error*; what nobody foresaw is logged and reported here, once."""
        # Starlette wraps errors that it knows, but met too late to answer them.
        known = error.__cause__ if isinstance(error, RuntimeError) else error
        if isinstance(known, (Refusal, Operational)):
            return known
        self._logger.error("bug", request_id=call.request_id, method=call.method, path=call.path, exc_info=error)
        self._report(error, call.request_id)
        return Bug()

    def _finish(self, call: CallContext, scope: Scope) -> None:
        call.route = call.route or route_template(scope)
        duration_seconds = monotonic_seconds() - call.started_seconds
        if call.trouble is not None:
            self._metrics.operational_error(call.error_code or "")
            self._logger.warning("operational_error", request_id=call.request_id, error=call.trouble)
        if call.path in QUIET_PATHS:
            self._logger.line("debug", partial(_fields, call, duration_seconds))
            return
        self._metrics.call_finished(call, duration_seconds)
        self._tracer.finish_call(call)
        self._logger.line("info", partial(_fields, call, duration_seconds))


async def _receive(call: CallContext, receive: Receive) -> Message:
    """Return the next message of the client, and note it if the client leaves."""
    message = await receive()
    if message["type"] == "http.disconnect" and not call.answered:
        call.client_left = True
    return message


def _send(call: CallContext, send: Send, message: Message) -> Awaitable[None]:
    """Note what is sent, and send it: a head with the headers of every answer."""
    kind = message["type"]
    if kind in _STARTS:
        call.status = message.get("status", _SWITCHING_PROTOCOLS)
        message["headers"] = with_weir_headers(message.get("headers", []), call.request_id, call.path)
    elif kind == "websocket.send":
        call.bytes_sent += len(message.get("text") or message.get("bytes") or "")
    elif kind in _BODIES:
        size_bytes = len(message.get("body", b""))
        if size_bytes and call.first_byte_seconds is None:
            call.first_byte_seconds = monotonic_seconds() - call.started_seconds
        call.bytes_sent += size_bytes
        call.answered = not message.get("more_body", False)
    return send(message)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            return text if is_request_id(text) else new_id("req")
    return new_id("req")


def _fields(call: CallContext, duration_seconds: float) -> dict[str, Any]:
    """Return what the call's log line says: durations in milliseconds, and nothing that is not known."""
    fields: dict[str, Any] = {
        "event": "call",
        "request_id": call.request_id,
        "method": call.method,
        "path": call.path[:_PATH_CHARACTERS_MAX],
        "route": call.route,
        "status": call.status,
        "duration_ms": round(duration_seconds * 1000, 3),
        "bytes_sent": call.bytes_sent,
    }
    known = zip(_OPTIONAL_FIELDS, _optional_values(call), strict=True)
    fields |= {name: value for name, value in known if value is not None}
    if call.client_left:
        fields["client_left"] = True
    if call.streamed:
        fields["streamed"] = True
    if call.upstream_seconds is not None:
        fields["upstream_ms"] = round(call.upstream_seconds * 1000, 3)
    if call.first_byte_seconds is not None:
        fields["first_byte_ms"] = round(call.first_byte_seconds * 1000, 3)
    return fields


_OPTIONAL_FIELDS = (
    "operation",
    "key_id",
    "project_id",
    "model",
    "upstream",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "cost_nano",
    "outcome",
    "error_code",
)
_optional_values = attrgetter(*_OPTIONAL_FIELDS)
