"""The one table of mounted routers: where, what, and who may call. What is not in it does not exist."""

from typing import Any, NamedTuple

from fastapi import APIRouter, Depends, FastAPI

from app.budgets.admin_router import router as budgets
from app.budgets.router import router as own_budgets
from app.budgets.spend_alert_router import router as spend_alerts
from app.budgets.spend_limit_router import router as spend_limits
from app.gateway.explain_router import router as explain
from app.gateway.router import router as gateway
from app.gateway.schemas import ERRORS
from app.health.router import router as health
from app.keys.access import Access
from app.keys.auth import authorize
from app.ledger.costs_router import router as costs
from app.ledger.router import router as ledger
from app.ledger.usage_router import router as usage
from app.prices.admin_router import router as prices
from app.upstreams.router import router as models


class Mount(NamedTuple):
    """One router; `access` is what `app/keys/access.py` demands of its callers, and a test checks route by route."""

    prefix: str
    router: APIRouter
    access: Access


ROUTES = (
    Mount("/v1", gateway, "project caller"),
    Mount("/v1", explain, "project caller"),
    Mount("/v1", models, "any caller"),
    Mount("/v1", ledger, "any caller"),
    Mount("/v1", usage, "organization"),
    Mount("/v1", costs, "organization"),
    Mount("/v1", prices, "organization"),
    Mount("/v1", budgets, "organization"),
    Mount("/v1", own_budgets, "any caller"),
    Mount("/v1", spend_limits, "project"),
    Mount("/v1", spend_alerts, "project"),
    Mount("", health, "public"),
)


def mount(app: FastAPI) -> None:
    """Add every router to *app*."""
    for prefix, router, access in ROUTES:
        statuses = () if access == "public" else (400, 401, 403, 404, "4XX", 503)
        responses: dict[int | str, dict[str, Any]] = {status: ERRORS[status] for status in statuses}
        guards = [] if access == "public" else [Depends(authorize(access))]
        app.include_router(router, prefix=prefix, responses=responses, dependencies=guards)
