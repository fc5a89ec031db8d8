"""The door of everything that passes through: mounted last, for the paths that the settings name.

A body that is JSON is read whole, as it may name other people's objects; every other one is passed on as it arrives.
"""

from collections.abc import AsyncIterator
from contextlib import nullcontext

from fastapi import APIRouter, Request, Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from app.deps import shows_key_in_docs
from app.errors import BodyTooLarge, InvalidRequest, UnknownPath
from app.gateway.answer import Inbound
from app.gateway.passthrough_service import PassedCall, PassthroughService
from app.gateway.router import MeteredRoute, departure_cancels, send_answer
from app.keys.auth import authenticate_project
from app.observability.context import call_context
from app.setting_groups import Http


class PassedRoute(MeteredRoute):
    """A route for every path that passes through, and for no other."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether it is one."""
        match, child_scope = super().matches(scope)
        if match != Match.NONE and not scope["app"].state.passed_paths.covers(scope["path"]):
            return Match.NONE, {}
        return match, child_scope


class PassedResponse(Response):
    """One call that passes through, run while it is answered."""

    def __init__(self) -> None:
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate, pass on, relay; errors before the first byte become JSON outside of here."""
        http = Request(scope, receive)
        service: PassthroughService = http.app.state.wiring.passthrough
        context = call_context(scope)
        caller = await authenticate_project(http)
        raw = scope["raw_path"].decode("latin-1").removeprefix("/v1")
        path = http.app.state.passed_paths.find(raw)
        if path is None:
            raise UnknownPath(scope["method"], scope["path"])
        body = Incoming(http)
        inbound = Inbound(http.headers.raw, scope["query_string"].decode("latin-1"))
        is_download = not body.is_there
        if body.is_there and body.is_json:
            call = PassedCall(scope["method"], path, inbound, await body.read())
        else:
            call = PassedCall(scope["method"], path, inbound, body.pieces() if body.is_there else None)
        if is_download:
            await body.read()
        # An upload is finished for a caller who left: what it has stored is there all the same.
        async with departure_cancels(scope, context) if is_download else nullcontext():
            answer = await service.run(caller, call, context)
            await send_answer(answer, send)


class Incoming:
    """The body of a request on its way in; BodyLimit, outside of here, refuses one that stops.

    Raises InvalidRequest for one of two types: the upstream may read it as the other.
    """

    def __init__(self, http: Request) -> None:
        settings: Http = http.app.state.settings.http
        self._http = http
        self._size_bytes_max = settings.body_size_bytes_max
        length = http.headers.get("content-length")
        self.is_there = length not in (None, "0") or "transfer-encoding" in http.headers
        types = http.headers.getlist("content-type")
        if len(types) > 1:
            raise InvalidRequest("The Content-Type header is there more than once.")
        self.is_json = "".join(types).partition(";")[0].strip().lower().endswith("json")

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield it as it arrives; raises BodyTimeout, and ClientDisconnect when it does not."""
        async for piece in self._http.stream():
            if piece:
                yield piece

    async def read(self) -> bytes:
        """Return all of it; raises BodyTooLarge, BodyTimeout and ClientDisconnect."""
        whole = bytearray()
        async for piece in self.pieces():
            whole += piece
            if len(whole) > self._size_bytes_max:
                raise BodyTooLarge(self._size_bytes_max)
        return bytes(whole)


router = APIRouter(route_class=PassedRoute, dependencies=[shows_key_in_docs], include_in_schema=False)


@router.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def pass_on(_: Request) -> Response:
    """Answer as the upstream does."""
    return PassedResponse()
