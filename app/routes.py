"""The one table of mounted routers: where, what, and who may call. What is not in it does not exist."""

from typing import Any, Literal, NamedTuple

from fastapi import APIRouter, FastAPI

from app.gateway.router import router as gateway
from app.gateway.schemas import ERRORS
from app.health.router import router as health
from app.ledger.router import router as ledger
from app.upstreams.router import router as models

Access = Literal["public", "any key", "project key"]


class Mount(NamedTuple):
    """One router; `access` is what its routes demand of their callers, which a test checks route by route."""

    prefix: str
    router: APIRouter
    access: Access


ROUTES = (
    Mount("/v1", gateway, "project key"),
    Mount("/v1", models, "any key"),
    Mount("/v1", ledger, "any key"),
    Mount("", health, "public"),
)


def mount(app: FastAPI) -> None:
    """Add every router to *app*."""
    for prefix, router, access in ROUTES:
        statuses = () if access == "public" else (400, 401, 403, 404, "4XX", 503)
        responses: dict[int | str, dict[str, Any]] = {status: ERRORS[status] for status in statuses}
        app.include_router(router, prefix=prefix, responses=responses)
