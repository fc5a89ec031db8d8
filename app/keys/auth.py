"""Turns the Authorization header (RFC 6750, section 2.1) into a caller; the door of every route that is not public."""

from typing import TYPE_CHECKING, Annotated

from fastapi import Request, Security
from fastapi.security import HTTPBearer

from app.errors import Forbidden
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


async def authenticate_project(request: Request) -> Caller:
    """Return the caller of a metered route: an API key, as only a project can be charged; raises Forbidden."""
    return require_project(await authenticate(request))


def require_project(caller: Caller) -> Caller:
    """Return *caller* if it has a project; raises Forbidden."""
    if caller.project_id is None:
        raise Forbidden("An admin key cannot call models, as it belongs to no project. Use an API key (wk-...).")
    return caller


def _bearer_token(request: Request) -> str | None:
    values = request.headers.getlist("authorization")
    if len(values) != 1:
        return None
    scheme, _, token = values[0].partition(" ")
    return token.strip(" \t") if scheme.lower() == "bearer" else None
