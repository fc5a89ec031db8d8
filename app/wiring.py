"""The composition root: makes every client, store and service once, and closes them in reverse."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog

from app.audit.service import AuditService
from app.budgets.admin_service import BudgetAdminService
from app.budgets.check_service import CheckService
from app.budgets.opening_service import OpeningService
from app.budgets.service import BudgetService
from app.budgets.spend_alert_service import SpendAlertService
from app.budgets.spend_limit_service import SpendLimitService
from app.calling import Below, build_calling
from app.core import schema
from app.core.background import keep_up
from app.core.clock import Clock, utc_now
from app.core.db import Database
from app.core.health import Dependency
from app.core.notify import Notices
from app.core.redis import Redis
from app.gateway.passthrough_service import PassthroughService
from app.gateway.service import GatewayService
from app.gateway.socket_service import GatewaySockets
from app.gateway.stored_service import StoredService
from app.health.service import HealthService
from app.idempotency.service import IdempotencyService
from app.identity.session_service import PEOPLE_CHANGED
from app.keys.service import KeyService
from app.ledger.bill_service import BillService
from app.ledger.rollup_service import RollupService
from app.ledger.service import LedgerService
from app.limiting import Limiting, limiting
from app.limits.service import LIMITS_CHANGED
from app.observability.metrics import Metrics
from app.observability.tracing import Tracer
from app.people import People, build_people, projects_for_people
from app.prices.admin_service import PriceAdmin
from app.prices.service import PRICES_CHANGED, PriceService
from app.projects.member_service import MemberService
from app.reconcile import reconciliation_service
from app.reconciliation.daily_service import DailyReconciliation
from app.settings import Settings
from app.tenants import Tenants, build_tenants
from app.upstreaming import upstreaming
from app.upstreams.admin_service import UpstreamAdminService
from app.upstreams.breaker_admin_service import BreakerAdminService
from app.upstreams.service import UpstreamService

_log: Final = structlog.get_logger()

Work = Callable[[], Coroutine[None, None, None]]
"""What goes on in the background until it is cancelled."""


@dataclass(frozen=True)
class Wiring:
    """Everything that routes use."""

    audit: AuditService
    breakers: BreakerAdminService
    bill: BillService
    budget_admin: BudgetAdminService
    gateway: GatewayService
    health: HealthService
    keys: KeyService
    ledger: LedgerService
    limits: Limiting
    members: MemberService
    metrics: Metrics
    passthrough: PassthroughService
    people: People
    price_admin: PriceAdmin
    rollups: RollupService
    sockets: GatewaySockets
    spend_alerts: SpendAlertService
    spend_limits: SpendLimitService
    stored: StoredService
    tenants: Tenants
    tracer: Tracer
    upstream_admin: UpstreamAdminService
    upstreams: UpstreamService


@asynccontextmanager
async def wire(settings: Settings, metrics: Metrics, tracer: Tracer, clock: Clock = utc_now) -> AsyncIterator[Wiring]:
    """Build the services of one process and run its background work for as long as the block runs.

    Raises SchemaError when the database's schema is not the one this Weir knows, DatabaseUnavailable without one.
    """
    async with AsyncExitStack() as stack:
        stack.callback(metrics.count_finished)
        db, database_health, redis, redis_health = _connect(settings, stack, metrics)
        await schema.check(db)
        tenants = await build_tenants(settings, db, clock)
        projects, keys = tenants.projects, tenants.keys
        people = build_people(settings, db, projects_for_people(projects, tenants.members), clock)
        stack.callback(people.close)
        prices, ledger, rollups, idempotency, budgets = await _books(settings, db, database_health, metrics, clock)
        openings = OpeningService(db, ledger)
        budget_admin = BudgetAdminService(db, openings, {"project": projects.exists, "api_key": keys.is_api_key})
        upstreams = await stack.enter_async_context(upstreaming(settings, db, redis, metrics, tracer, tenants.allows))
        limits = await stack.enter_async_context(limiting(settings, db, redis, metrics, tenants.exists, prices.models))
        health = HealthService(db, redis, database_health, redis_health, ledger.health, limits.health)
        others = [(PEOPLE_CHANGED, people.persons.forget), (LIMITS_CHANGED, limits.service.expire)]
        _listen(db, stack, [(PRICES_CHANGED, prices.expire), *others, *tenants.listeners, *upstreams.listeners])
        for close in (rollups.close, budgets.close, tenants.key_use.write, tenants.ownership.close):
            stack.push_async_callback(close)
        stack.push_async_callback(ledger.close, settings.server.shutdown_grace_seconds)
        checks = [CheckService(db, rollups, metrics, settings.budgets, clock).keep_checking]
        checks += _reconciling(settings, db, metrics, clock)
        money = (budgets.keep_alive, idempotency.keep_purged, ledger.keep_partitions, openings.keep_counted)
        works = (health.watch, rollups.keep_rolled_up, prices.keep_fresh, *money, *checks, *upstreams.background)
        _in_background(stack, *works, *people.background, *limits.background, *tenants.background)
        below = Below(tenants, prices, ledger, idempotency, budgets, limits.service, upstreams, redis, metrics)
        calling = build_calling(settings, below, clock)
        stack.push_async_callback(calling.close)
        yield Wiring(
            audit=AuditService(db),
            breakers=upstreams.breaker_admin,
            bill=BillService(db, rollups, clock),
            budget_admin=budget_admin,
            gateway=calling.gateway,
            health=health,
            keys=keys,
            ledger=ledger,
            limits=limits,
            members=tenants.members,
            metrics=metrics,
            passthrough=calling.passthrough,
            people=people,
            price_admin=PriceAdmin(db, prices, clock),
            rollups=rollups,
            sockets=calling.sockets,
            spend_alerts=SpendAlertService(db, projects.exists),
            spend_limits=SpendLimitService(budget_admin, projects.exists),
            stored=calling.stored,
            tenants=tenants,
            tracer=tracer,
            upstream_admin=upstreams.admin,
            upstreams=upstreams.service,
        )
        health.is_draining = True


def _connect(
    settings: Settings, stack: AsyncExitStack, metrics: Metrics
) -> tuple[Database, Dependency, Redis, Dependency]:
    assert settings.database_url and settings.redis_url and settings.keys.pepper, "set by cli.py"  # noqa: PT018, S101
    database_health = Dependency("database", lambda is_up: metrics.database_reachable(is_up=is_up))
    redis_health = Dependency("redis", lambda is_up: metrics.redis_reachable(is_up=is_up))
    db = Database(settings.database_url.get_secret_value(), settings.database, database_health)
    stack.push_async_callback(db.close)
    redis = Redis(settings.redis_url.get_secret_value(), settings.redis, redis_health)
    stack.push_async_callback(redis.close)
    return db, database_health, redis, redis_health


class _Books(NamedTuple):
    prices: PriceService
    ledger: LedgerService
    rollups: RollupService
    idempotency: IdempotencyService
    budgets: BudgetService


async def _books(
    settings: Settings, db: Database, database_health: Dependency, metrics: Metrics, clock: Clock
) -> _Books:
    """Return what keeps the money, its prices loaded, its partitions there, and this process known as alive."""
    prices = PriceService(db)
    await prices.load()
    ledger = LedgerService(db, database_health, settings.ledger, metrics, clock)
    await ledger.create_partitions()
    idempotency = IdempotencyService(db, settings.idempotency)
    budgets = BudgetService(db, ledger, idempotency, settings.budgets, clock)
    await budgets.lease.beat()
    return _Books(prices, ledger, RollupService(db, settings.ledger), idempotency, budgets)


def _listen(db: Database, stack: AsyncExitStack, listeners: Sequence[tuple[str, Callable[[str], None]]]) -> None:
    """Call each listener with what is said on its channel."""
    notices = Notices(db)
    for channel, listener in listeners:
        notices.subscribe(channel, listener)
    notices.start()
    stack.push_async_callback(notices.close)


def _reconciling(settings: Settings, db: Database, metrics: Metrics, clock: Clock) -> list[Work]:
    """Return the daily comparison with the provider's bill, where there is a key for that."""
    if settings.reconciliation.admin_api_key is None:
        return []
    service = reconciliation_service(settings, db, clock)
    return [DailyReconciliation(db, service, metrics, clock).keep_checked]


def _in_background(stack: AsyncExitStack, *works: Work) -> None:
    tasks = [asyncio.create_task(keep_up(work), name="background") for work in works]

    async def stop() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    stack.push_async_callback(stop)
