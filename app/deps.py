"""What routes ask for, one annotated alias each. A service comes from the wiring; a caller from the request."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Path, Request, Security

from app.budgets.admin_service import BudgetAdminService
from app.budgets.spend_alert_service import SpendAlertService
from app.budgets.spend_limit_service import SpendLimitService
from app.gateway.service import GatewayService
from app.health.service import HealthService
from app.keys.access import require_project
from app.keys.auth import authenticate, bearer_scheme
from app.keys.caller import Caller
from app.ledger.bill_service import BillService
from app.ledger.service import LedgerService
from app.prices.admin_service import PriceAdmin
from app.upstreams.service import UpstreamService


def _wired(name: str) -> Callable[[Request], Awaitable[object]]:
    """Return what takes the service *name* out of the wiring."""

    async def take(request: Request) -> object:
        return getattr(request.app.state.wiring, name)

    return take


async def _project_caller(caller: Annotated[Caller, Depends(authenticate)]) -> Caller:
    return require_project(caller)


shows_key_in_docs = Security(bearer_scheme)
"""Puts the lock and the Authorize button on a route in the API description."""

CallerDep = Annotated[Caller, Depends(authenticate)]
ProjectCallerDep = Annotated[Caller, Depends(_project_caller)]
GatewayDep = Annotated[GatewayService, Depends(_wired("gateway"))]
ProjectId = Annotated[str, Path(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
BudgetAdminDep = Annotated[BudgetAdminService, Depends(_wired("budget_admin"))]
SpendAlertsDep = Annotated[SpendAlertService, Depends(_wired("spend_alerts"))]
SpendLimitsDep = Annotated[SpendLimitService, Depends(_wired("spend_limits"))]
BillDep = Annotated[BillService, Depends(_wired("bill"))]
LedgerDep = Annotated[LedgerService, Depends(_wired("ledger"))]
HealthDep = Annotated[HealthService, Depends(_wired("health"))]
PriceAdminDep = Annotated[PriceAdmin, Depends(_wired("price_admin"))]
UpstreamsDep = Annotated[UpstreamService, Depends(_wired("upstreams"))]
