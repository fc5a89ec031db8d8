"""Turns the Authorization header (RFC 6750, section 2.1) into a caller; the door of every route that is not public."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from app.core.actor import Actor, acting
from app.keys.access import Access, require, require_project
from app.keys.caller import Caller
from app.observability.context import call_context

if TYPE_CHECKING:
    from app.keys.service import KeyService

bearer_scheme = HTTPBearer(
    scheme_name="WeirKey",
    description="A key made by Weir: `wk-…` for calls, `wa-…` for administration. Paste it without `Bearer`.",
    auto_error=False,
)


async def authenticate(request: Request, _: Annotated[object, Security(bearer_scheme)] = None) -> Caller:
    """Return who is calling; raises Unauthenticated, or Unavailable when that cannot be found out right now."""
    keys: KeyService = request.app.state.wiring.keys
    caller = await keys.authenticate(_bearer_token(request))
    context = call_context(request.scope)
    context.key_id = caller.key_id
    context.project_id = caller.project_id
    return caller


def authorize(access: Access) -> Callable[[Request, Caller], Awaitable[None]]:
    """Return the dependency that lets in whom *access* allows; what they change is audited as theirs."""

    async def require_access(request: Request, caller: Annotated[Caller, Depends(authenticate)]) -> None:
        acting.set(_actor(request, caller))
        require(caller, access, request.method, request.path_params.get("project_id"))

    return require_access


async def authenticate_project(request: Request) -> Caller:
    """Return the caller of a metered route, which has a project to pay for it; raises Forbidden."""
    return require_project(await authenticate(request))


def _bearer_token(request: Request) -> str | None:
    values = request.headers.getlist("authorization")
    if len(values) != 1:
        return None
    scheme, _, token = values[0].partition(" ")
    return token.strip(" \t") if scheme.lower() == "bearer" else None


def _actor(request: Request, caller: Caller) -> Actor:
    context = call_context(request.scope)
    return Actor(
        kind="session" if caller.kind == "person" else "api_key",
        id=caller.key_id,
        user_id=caller.user_id,
        address=context.address,
        user_agent=request.headers.get("user-agent"),
        request_id=context.request_id,
    )
