"""What routes ask for, one annotated alias each. A service comes from the wiring; a caller from the request."""

from typing import Annotated

from fastapi import Depends, Path, Request, Security

from app.budgets.admin_service import BudgetAdminService
from app.budgets.spend_alert_service import SpendAlertService
from app.budgets.spend_limit_service import SpendLimitService
from app.errors import Forbidden
from app.gateway.service import GatewayService
from app.health.service import HealthService
from app.keys.auth import authenticate, bearer_scheme, require_project
from app.keys.caller import Caller
from app.ledger.bill_service import BillService
from app.ledger.service import LedgerService
from app.prices.admin_service import PriceAdmin
from app.upstreams.service import UpstreamService


async def _ledger(request: Request) -> LedgerService:
    ledger: LedgerService = request.app.state.wiring.ledger
    return ledger


async def _bill(request: Request) -> BillService:
    bill: BillService = request.app.state.wiring.bill
    return bill


async def _budget_admin(request: Request) -> BudgetAdminService:
    budget_admin: BudgetAdminService = request.app.state.wiring.budget_admin
    return budget_admin


async def _spend_alerts(request: Request) -> SpendAlertService:
    spend_alerts: SpendAlertService = request.app.state.wiring.spend_alerts
    return spend_alerts


async def _spend_limits(request: Request) -> SpendLimitService:
    spend_limits: SpendLimitService = request.app.state.wiring.spend_limits
    return spend_limits


async def _gateway(request: Request) -> GatewayService:
    gateway: GatewayService = request.app.state.wiring.gateway
    return gateway


async def _health(request: Request) -> HealthService:
    health: HealthService = request.app.state.wiring.health
    return health


async def _price_admin(request: Request) -> PriceAdmin:
    price_admin: PriceAdmin = request.app.state.wiring.price_admin
    return price_admin


async def _upstreams(request: Request) -> UpstreamService:
    upstreams: UpstreamService = request.app.state.wiring.upstreams
    return upstreams


async def _admin(caller: Annotated[Caller, Depends(authenticate)]) -> Caller:
    if caller.kind != "admin":
        raise Forbidden("This needs an admin key (wa-...).")
    return caller


async def _project_caller(caller: Annotated[Caller, Depends(authenticate)]) -> Caller:
    return require_project(caller)


shows_key_in_docs = Security(bearer_scheme)
"""Puts the lock and the Authorize button on a route in the API description."""

CallerDep = Annotated[Caller, Depends(authenticate)]
ProjectCallerDep = Annotated[Caller, Depends(_project_caller)]
GatewayDep = Annotated[GatewayService, Depends(_gateway)]
AdminDep = Annotated[Caller, Depends(_admin)]
"""The caller of a route that only admin keys may use."""
ProjectId = Annotated[str, Path(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
BudgetAdminDep = Annotated[BudgetAdminService, Depends(_budget_admin)]
SpendAlertsDep = Annotated[SpendAlertService, Depends(_spend_alerts)]
SpendLimitsDep = Annotated[SpendLimitService, Depends(_spend_limits)]
BillDep = Annotated[BillService, Depends(_bill)]
LedgerDep = Annotated[LedgerService, Depends(_ledger)]
HealthDep = Annotated[HealthService, Depends(_health)]
PriceAdminDep = Annotated[PriceAdmin, Depends(_price_admin)]
UpstreamsDep = Annotated[UpstreamService, Depends(_upstreams)]
