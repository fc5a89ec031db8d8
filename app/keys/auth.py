"""Turns the Authorization header (RFC 6750, section 2.1) into a caller; the door of every route that is not public."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer, OAuth2PasswordBearer

from app.core.actor import Actor, acting
from app.errors import Unauthenticated
from app.identity.jwt import is_token
from app.keys.access import Access, paying_project, require, require_address, require_project, require_scope
from app.keys.caller import Caller
from app.keys.networks import neighbourhood
from app.keys.scopes import Scope
from app.observability.context import call_context

if TYPE_CHECKING:
    from app.identity.person_service import PersonService
    from app.keys.service import KeyService
    from app.limits.service import LimitService
    from app.projects.member_service import MemberService

bearer_scheme = HTTPBearer(
    scheme_name="WeirKey",
    description="A key made by Weir: `wk-…` for calls, `wa-…` for administration. Paste it without `Bearer`.",
    auto_error=False,
)
sign_in_scheme = OAuth2PasswordBearer(
    tokenUrl="/v1/gateway/auth/token",
    scheme_name="WeirSignIn",
    description="An e-mail address and a password. Leave the client's id and secret empty.",
    auto_error=False,
)


async def authenticate(
    request: Request,
    _: Annotated[object, Security(bearer_scheme)] = None,
    __: Annotated[object, Security(sign_in_scheme)] = None,
) -> Caller:
    """Return who is calling; raises Unauthenticated, or Unavailable when that cannot be found out right now.

    Raises RateLimitExceeded where too many calls from the same address were not authenticated.
    """
    context = call_context(request.scope)
    token = _bearer_token(request)
    try:
        if token is not None and is_token(token):
            caller = await _authenticate_person(request, token)
        else:
            keys: KeyService = request.app.state.wiring.keys
            caller = await keys.authenticate(token, context.address)
            require_address(caller, context.address)
    except Unauthenticated:
        limits: LimitService = request.app.state.wiring.limits.service
        await limits.count_unauthenticated(neighbourhood(context.address) or None)
        raise
    context.key_id = caller.key_id
    context.project_id = caller.project_id
    return caller


def authorize(access: Access, scope: Scope | None = None) -> Callable[[Request, Caller], Awaitable[None]]:
    """Return the dependency that lets in whom *access* allows, with *scope* if it is a key that is kept to some.

    What they change is audited as theirs.
    """

    async def require_access(request: Request, caller: Annotated[Caller, Depends(authenticate)]) -> None:
        acting.set(_actor(request, caller))
        require(caller, access, request.method, request.path_params.get("project_id"))
        if scope is not None:
            require_scope(caller, scope)

    return require_access


async def authenticate_project(request: Request) -> Caller:
    """Return the caller of a metered route, which has a project to pay for it; raises Forbidden."""
    caller = require_project(await authenticate(request))
    require_scope(caller, "api.model.request")
    return caller


def _bearer_token(request: Request) -> str | None:
    values = [value for name, value in request.scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, token = values[0].decode("latin-1").partition(" ")
    return token.strip(" \t") if scheme.lower() == "bearer" else None


async def act_as_nobody(request: Request) -> None:
    """Let what happens on a public route be audited as done from the caller's address."""
    acting.set(_nobody(request))


async def _authenticate_person(request: Request, token: str) -> Caller:
    wiring = request.app.state.wiring
    persons: PersonService = wiring.people.persons
    members: MemberService = wiring.members
    acting.set(_nobody(request))  # the first time that a token of an identity provider is seen is a sign-in
    person = await persons.authenticate(token)
    project_roles = await members.roles_of(person.user_id)
    return Caller(
        key_id=person.session_id,
        kind="person",
        project_id=paying_project(project_roles, request.headers.get("openai-project")),
        expires_at=person.expires_at,
        user_id=person.user_id,
        organization_role=person.role,
        project_roles=project_roles,
        email=person.email,
    )


def _actor(request: Request, caller: Caller) -> Actor:
    kind: Literal["session", "api_key"] = "session" if caller.kind == "person" else "api_key"
    return _nobody(request)._replace(kind=kind, id=caller.key_id, user_id=caller.user_id, email=caller.email)


def _nobody(request: Request) -> Actor:
    context = call_context(request.scope)
    return Actor(
        kind="session",
        address=context.address,
        user_agent=request.headers.get("user-agent"),
        request_id=context.request_id,
    )
