"""The door of every metered call.

FastAPI documents these routes and matches them; its dependency and response machinery is left out of the call itself,
which costs less than half of the CPU (`docs/decisions/0004-metered-routes-skip-dependencies.md`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.core.departure import SCOPE_KEY, Departure
from app.deps import shows_key_in_docs
from app.gateway.answer import Answer, Inbound
from app.gateway.operations.chat import ChatCompletions
from app.gateway.operations.operation import Operation, Unread
from app.gateway.schemas import CHAT_COMPLETIONS_DOCS
from app.gateway.service import GatewayService
from app.keys.auth import authenticate_project
from app.observability.context import CallContext, call_context


class MeteredRoute(APIRoute):
    """A route whose endpoint is called with the bare request and answers it by itself."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the endpoint as it is."""
        return self.endpoint


class MeteredCall(Response):
    """Any call of one endpoint, run while it is answered: so a caller who leaves is noticed from the first moment."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._is_unread = isinstance(operation, Unread)
        self.background = None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Answer a call."""
        return self.answer(Request(scope, receive), send)

    async def answer(self, http: Request, send: Send) -> None:
        """Authenticate, read, run, send; errors before the first byte become JSON outside of here."""
        scope = http.scope
        gateway: GatewayService = http.app.state.wiring.gateway
        context = call_context(scope)
        caller = await authenticate_project(http)
        inbound = Inbound(scope["headers"], scope["query_string"].decode("latin-1"))
        request = self._operation.read(await _body(http.receive), inbound.fields)
        # A plain call is finished for a caller who left: only its whole answer says what it cost. And so is one with an
        # idempotency key: its caller will ask again.
        ends_with_caller = (request.streamed or self._is_unread) and inbound.fields.get("idempotency-key") is None
        async with departure_cancels(scope, context) if ends_with_caller else nullcontext():
            answer = await gateway.run(caller, self._operation, request, inbound, context)
            await send_answer(answer, send)


router = APIRouter(route_class=MeteredRoute, tags=["Chat"], dependencies=[shows_key_in_docs])
_CHAT = MeteredCall(ChatCompletions())


@router.post("/chat/completions", summary="Create a chat completion", **CHAT_COMPLETIONS_DOCS)
async def create_chat_completion(_: Request) -> Response:
    """Answer as the upstream does, in JSON or, with `"stream": true`, in server-sent events.

    The request goes upstream as it came, fields that Weir does not know included. The answer's `x-request-id` names
    the receipt of the call, `GET /v1/requests/{id}`; `x-weir-cost-usd` on a plain answer is what it cost.
    """
    return _CHAT


async def _body(receive: Receive) -> bytes:
    """Return the request's whole body; raises ClientDisconnect when its caller leaves before that is here."""
    pieces = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


async def send_answer(answer: Answer, send: Send) -> None:
    """Send *answer*, and close its generator whatever happens."""
    start = {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
    if isinstance(answer.body, bytes):
        if answer.status != HTTPStatus.NO_CONTENT:  # which must not have it (RFC 9110, section 8.6)
            answer.headers.append((b"content-length", str(len(answer.body)).encode()))
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})
        return
    pieces = answer.body
    try:
        # The first piece before the head: from here on, whatever happens closes the generator, and so settles.
        first = await anext(pieces, b"")
        await send(start)
        goes_on = not answer.has_ended()
        await send({"type": "http.response.body", "body": first, "more_body": goes_on})
        async for piece in pieces:
            goes_on = not answer.has_ended()
            await send({"type": "http.response.body", "body": piece, "more_body": goes_on})
        if goes_on:
            await send({"type": "http.response.body", "body": b""})
    finally:
        await pieces.aclose()


@asynccontextmanager
async def departure_cancels(scope: Scope, context: CallContext) -> AsyncIterator[None]:
    """Cancel what runs inside when the client closes its connection; the cancellation ends here."""
    departure: Departure = scope[SCOPE_KEY]
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - narrows the type
    has_left = False

    def leave() -> None:
        nonlocal has_left
        has_left = True
        task.cancel()

    try:
        departure.listen(leave)
        yield
    except asyncio.CancelledError:
        if not has_left or task.uncancel() > 0:
            raise
        context.client_left = True
    finally:
        departure.forget(leave)
