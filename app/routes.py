"""The one table of mounted routers: where, what, and who may call. What is not in it does not exist."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from fastapi import APIRouter, Depends, FastAPI
from starlette import types as asgi

from app.answers.admin_router import router as project_caches
from app.audit.admin_router import router as audit
from app.budgets.admin_router import router as budgets
from app.budgets.router import router as own_budgets
from app.budgets.spend_alert_router import router as spend_alerts
from app.budgets.spend_limit_router import read_router as project_spend_limits
from app.budgets.spend_limit_router import router as spend_limits
from app.errors import UnknownPath
from app.gateway.audio_router import router as audio
from app.gateway.explain_router import router as explain
from app.gateway.front_router import Endpoint
from app.gateway.operations_router import router as operations
from app.gateway.passthrough_router import router as passthrough
from app.gateway.responses_router import router as responses
from app.gateway.router import MeteredRoute
from app.gateway.router import router as gateway
from app.gateway.schemas import ERRORS
from app.gateway.socket_router import router as sockets
from app.gateway.stored_router import router as stored
from app.health.router import router as health
from app.identity.account_router import router as account
from app.identity.invite_router import router as invites
from app.identity.role_router import router as roles
from app.identity.sign_in_router import router as sign_in
from app.identity.user_router import router as users
from app.keys.access import Access
from app.keys.admin_key_router import router as admin_keys
from app.keys.admin_router import router as keys
from app.keys.auth import authorize
from app.keys.project_key_router import router as project_keys
from app.keys.scopes import Scope
from app.keys.service_account_router import router as service_accounts
from app.ledger.costs_router import router as costs
from app.ledger.router import router as ledger
from app.ledger.usage_router import router as usage
from app.limits.admin_router import router as limits
from app.limits.project_router import read_router as project_limits
from app.limits.project_router import router as project_limits_set
from app.limits.router import router as own_limits
from app.observability.lifecycle import Deprecation
from app.prices.admin_router import router as prices
from app.projects.admin_router import router as project
from app.projects.creation_router import router as project_creation
from app.projects.router import router as projects
from app.unsupported_router import router as unsupported
from app.upstreams.admin_router import router as upstreams
from app.upstreams.breaker_router import router as breakers
from app.upstreams.router import router as models

_PATH_CHARACTERS_MAX: Final = 500


class Mount(NamedTuple):
    """One router; `access` is what `app/keys/access.py` demands of its callers, and a test checks route by route."""

    prefix: str
    router: APIRouter
    access: Access
    scope: Scope | None = None
    """What an API key that is kept to some scopes needs (`app/keys/scopes.py`)."""


ROUTES = (
    Mount("/v1", gateway, "project caller", "api.model.request"),
    Mount("/v1", operations, "project caller", "api.model.request"),
    Mount("/v1", audio, "project caller", "api.model.request"),
    Mount("/v1", responses, "project caller", "api.model.request"),
    Mount("/v1", stored, "project caller", "api.model.request"),
    Mount("/v1", explain, "project caller", "api.model.request"),
    Mount("/v1", models, "any caller", "api.model.read"),
    Mount("/v1", ledger, "any caller", "api.usage.read"),
    Mount("/v1", usage, "organization"),
    Mount("/v1", costs, "organization"),
    Mount("/v1", prices, "organization"),
    Mount("/v1", budgets, "organization"),
    Mount("/v1", own_budgets, "any caller", "api.usage.read"),
    Mount("/v1", limits, "organization"),
    Mount("/v1", breakers, "organization"),
    Mount("/v1", upstreams, "organization"),
    Mount("/v1", own_limits, "any caller", "api.usage.read"),
    Mount("/v1", project_caches, "project"),
    Mount("/v1", project_limits, "project"),
    Mount("/v1", project_limits_set, "organization"),
    Mount("/v1", project_spend_limits, "project"),
    Mount("/v1", spend_limits, "organization"),
    Mount("/v1", spend_alerts, "project"),
    Mount("/v1", audit, "organization"),
    Mount("/v1", projects, "management"),
    Mount("/v1", project_creation, "organization"),
    Mount("/v1", project, "project"),
    Mount("/v1", service_accounts, "project"),
    Mount("/v1", project_keys, "project"),
    Mount("/v1", admin_keys, "owner"),
    Mount("/v1", keys, "management"),
    Mount("/v1", sign_in, "public"),
    Mount("/v1", account, "person"),
    Mount("/v1", users, "organization"),
    Mount("/v1", invites, "organization"),
    Mount("/v1", roles, "organization"),
    Mount("", health, "public"),
    Mount("/v1", sockets, "project caller", "api.model.request"),
    Mount("/v1", unsupported, "any caller"),
    Mount("/v1", passthrough, "project caller", "api.model.request"),
)


DEPRECATIONS: Final[Mapping[str, Deprecation]] = {}
"""Routes that are going away, by path template such as `/v1/files/{file_id}`; each also says `deprecated=True`."""


def metered_endpoints() -> dict[str, Endpoint]:
    """Return the endpoints of metered routes whose paths are constant, by path."""
    found = {
        f"{mount.prefix}{route.path}": route.endpoint
        for mount in ROUTES
        for route in mount.router.routes
        if isinstance(route, MeteredRoute) and route.methods == {"POST"} and "{" not in route.path
    }
    return {path: endpoint for path, endpoint in found.items() if path not in DEPRECATIONS}


def is_managed(path: str) -> bool:
    """Tell whether *path* is of the management API, and has no body of a call."""
    return path.startswith(("/v1/organization/", "/v1/gateway/")) and path != "/v1/gateway/explain"


def _refuse_unknown_sockets(app: FastAPI) -> None:
    """Answer 404 where there is no WebSocket; of itself such a one would get 403, and no words."""
    not_found = app.router.not_found

    async def refuse(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "websocket":
            raise UnknownPath("GET", scope["path"][:_PATH_CHARACTERS_MAX])
        await not_found(scope, receive, send)

    app.router.default = refuse


def mount(app: FastAPI) -> None:
    """Add every router to *app*."""
    _refuse_unknown_sockets(app)
    for prefix, router, access, scope in ROUTES:
        statuses: tuple[int | str, ...] = (400, 401, 403, 404, "4XX", 503)
        if access == "public":
            statuses = (400, "4XX", 503) if prefix else ()
        responses: dict[int | str, dict[str, Any]] = {status: ERRORS[status] for status in statuses}
        guards = [] if access == "public" else [Depends(authorize(access, scope))]
        app.include_router(router, prefix=prefix, responses=responses, dependencies=guards)
