"""What routes ask for, one annotated alias each. A service comes from the wiring; a caller from the request."""

from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Annotated

from fastapi import Depends, Header, Path, Request, Security

from app.answers.policy_service import CachePolicyService
from app.audit.service import AuditService
from app.budgets.admin_service import BudgetAdminService
from app.budgets.spend_alert_service import SpendAlertService
from app.budgets.spend_limit_service import SpendLimitService
from app.gateway.service import GatewayService
from app.gateway.stored_service import StoredService
from app.health.service import HealthService
from app.identity.invite_service import InviteService
from app.identity.session_service import SessionService
from app.identity.sign_in_service import SignInService
from app.identity.user_service import UserService
from app.keys.access import require_project
from app.keys.admin_service import KeyAdminService
from app.keys.auth import authenticate, bearer_scheme
from app.keys.caller import Caller
from app.keys.owned_key_service import OwnedKeyService
from app.keys.service_account_service import ServiceAccountService
from app.ledger.bill_service import BillService
from app.ledger.service import LedgerService
from app.limits.admin_service import LimitAdminService
from app.limits.project_service import ProjectRateLimitService
from app.limits.service import LimitService
from app.prices.admin_service import PriceAdmin
from app.projects.member_service import MemberService
from app.projects.model_permission_service import ModelPermissionService
from app.projects.service import ProjectService
from app.upstreams.admin_service import UpstreamAdminService
from app.upstreams.breaker_admin_service import BreakerAdminService
from app.upstreams.service import UpstreamService


def _wired(name: str) -> Callable[[Request], Awaitable[object]]:
    """Return what takes the service *name* out of the wiring."""

    async def take(request: Request) -> object:
        return attrgetter(name)(request.app.state.wiring)

    return take


async def _project_caller(caller: Annotated[Caller, Depends(authenticate)]) -> Caller:
    return require_project(caller)


shows_key_in_docs = Security(bearer_scheme)
"""Puts the lock and the Authorize button on a route in the API description."""

IfMatch = Annotated[str | None, Header(max_length=1_000, description="Only if it is at this `ETag`; else 412.")]
CallerDep = Annotated[Caller, Depends(authenticate)]
ProjectCallerDep = Annotated[Caller, Depends(_project_caller)]
StoredDep = Annotated[StoredService, Depends(_wired("stored"))]
GatewayDep = Annotated[GatewayService, Depends(_wired("gateway"))]
ProjectId = Annotated[str, Path(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
AuditDep = Annotated[AuditService, Depends(_wired("audit"))]
CachePoliciesDep = Annotated[CachePolicyService, Depends(_wired("tenants.cache_policies"))]
BudgetAdminDep = Annotated[BudgetAdminService, Depends(_wired("budget_admin"))]
SpendAlertsDep = Annotated[SpendAlertService, Depends(_wired("spend_alerts"))]
SpendLimitsDep = Annotated[SpendLimitService, Depends(_wired("spend_limits"))]
BreakersDep = Annotated[BreakerAdminService, Depends(_wired("breakers"))]
BillDep = Annotated[BillService, Depends(_wired("bill"))]
LedgerDep = Annotated[LedgerService, Depends(_wired("ledger"))]
LimitsDep = Annotated[LimitService, Depends(_wired("limits.service"))]
LimitAdminDep = Annotated[LimitAdminService, Depends(_wired("limits.admin"))]
RateLimitsDep = Annotated[ProjectRateLimitService, Depends(_wired("limits.rate_limits"))]
HealthDep = Annotated[HealthService, Depends(_wired("health"))]
PriceAdminDep = Annotated[PriceAdmin, Depends(_wired("price_admin"))]
UpstreamAdminDep = Annotated[UpstreamAdminService, Depends(_wired("upstream_admin"))]
UpstreamsDep = Annotated[UpstreamService, Depends(_wired("upstreams"))]
InvitesDep = Annotated[InviteService, Depends(_wired("people.invites"))]
SessionsDep = Annotated[SessionService, Depends(_wired("people.sessions"))]
SignInDep = Annotated[SignInService, Depends(_wired("people.sign_in"))]
UsersDep = Annotated[UserService, Depends(_wired("people.users"))]
ProjectsDep = Annotated[ProjectService, Depends(_wired("tenants.projects"))]
MembersDep = Annotated[MemberService, Depends(_wired("members"))]
ModelPermissionsDep = Annotated[ModelPermissionService, Depends(_wired("tenants.model_permissions"))]
KeyAdminDep = Annotated[KeyAdminService, Depends(_wired("tenants.key_admin"))]
OwnedKeysDep = Annotated[OwnedKeyService, Depends(_wired("tenants.owned_keys"))]
ServiceAccountsDep = Annotated[ServiceAccountService, Depends(_wired("tenants.service_accounts"))]
