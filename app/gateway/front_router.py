"""A short way to the metered routes: found by their paths alone, without the layers that every other route has.

FastAPI's own layers, routing and compression cost more than authentication, prices and budgets together
(`docs/decisions/0004-metered-routes-skip-dependencies.md`). Pure ASGI.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.error_handlers import refuse
from app.errors import Operational, Refusal
from app.gateway.router import MeteredCall
from app.observability.context import call_context

Endpoint: TypeAlias = Callable[[Request], Awaitable[MeteredCall]]


class FrontDoor:
    """Runs POST on the paths of *endpoints* by those, and leaves every other call to *app*."""

    def __init__(self, app: ASGIApp, *, endpoints: Mapping[str, Endpoint]) -> None:
        self.app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the call; what is raised after the first byte of an answer is raised on."""
        endpoint = None
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._endpoints.get(scope["path"])
        if endpoint is None:
            await self.app(scope, receive, send)
            return
        call = call_context(scope)
        call.route = scope["path"]
        try:
            request = Request(scope, receive)
            metered = await endpoint(request)
            await metered.answer(request, send)
        except (Refusal, Operational) as error:
            if call.status is not None:
                raise
            await refuse(error, scope, receive, send)
