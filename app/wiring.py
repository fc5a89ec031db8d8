"""The composition root: makes every client, store and service once, and closes them in reverse."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from app.budgets.admin_service import BudgetAdminService
from app.budgets.check_service import CheckService
from app.budgets.opening_service import OpeningService
from app.budgets.service import BudgetService
from app.budgets.spend_alert_service import SpendAlertService
from app.budgets.spend_limit_service import SpendLimitService
from app.core import schema
from app.core.clock import Clock, utc_now
from app.core.db import Database
from app.core.health import Dependency
from app.core.notify import Notices
from app.core.redis import Redis
from app.gateway.reservation_service import ReservationDesk
from app.gateway.service import GatewayService
from app.gateway.settlement import Settlement
from app.gateway.token_count_service import TokenCounts
from app.health.service import HealthService
from app.idempotency.service import IdempotencyService
from app.keys.service import KEYS_CHANGED, KeyService
from app.ledger.bill_service import BillService
from app.ledger.rollup_service import RollupService
from app.ledger.service import LedgerService
from app.observability.metrics import Metrics
from app.observability.tracing import Tracer
from app.prices.admin_service import PriceAdmin
from app.prices.service import PRICES_CHANGED, PriceService
from app.projects.service import ProjectService
from app.reconcile import reconciliation_service
from app.reconciliation.daily_service import DailyReconciliation
from app.settings import Settings
from app.simulator.app import create_simulator
from app.simulator.server import serve_simulator
from app.upstreams.client import UpstreamClient
from app.upstreams.routing import FIRST_UPSTREAM, Upstream
from app.upstreams.service import UpstreamService

_log: Final = structlog.get_logger()


@dataclass(frozen=True)
class Wiring:
    """Everything that routes use."""

    bill: BillService
    budget_admin: BudgetAdminService
    gateway: GatewayService
    health: HealthService
    keys: KeyService
    ledger: LedgerService
    metrics: Metrics
    price_admin: PriceAdmin
    rollups: RollupService
    spend_alerts: SpendAlertService
    spend_limits: SpendLimitService
    tracer: Tracer
    upstreams: UpstreamService


@asynccontextmanager
async def wire(settings: Settings, metrics: Metrics, tracer: Tracer, clock: Clock = utc_now) -> AsyncIterator[Wiring]:
    """Build the services of one process and run its background work for as long as the block runs.

    Raises SchemaError when the database's schema is not the one this Weir knows, DatabaseUnavailable without one.
    """
    assert settings.keys.pepper, "set by cli.py"  # noqa: S101
    database_health = Dependency("database", lambda is_up: metrics.database_reachable(is_up=is_up))
    redis_health = Dependency("redis", lambda is_up: metrics.redis_reachable(is_up=is_up))
    async with AsyncExitStack() as stack:
        db, redis = _connect(settings, stack, database_health, redis_health)
        await schema.check(db)
        projects = ProjectService(db)
        prices = PriceService(db)
        await prices.load()
        ledger = LedgerService(db, database_health, settings.ledger, metrics, clock)
        await ledger.create_partitions()
        rollups = RollupService(db, settings.ledger)
        idempotency = IdempotencyService(db, settings.idempotency)
        budgets = BudgetService(db, ledger, idempotency, settings.budgets, clock)
        await budgets.lease.beat()
        reservations = ReservationDesk(prices, budgets, idempotency, TokenCounts(), settings.budgets)
        keys = KeyService(db, settings.keys.pepper.get_secret_value().encode(), settings.keys, clock)
        openings = OpeningService(db, ledger)
        budget_admin = BudgetAdminService(db, openings, {"project": projects.exists, "api_key": keys.is_api_key})
        upstreams = await _upstream_service(settings, stack, tracer)
        health = HealthService(db, redis, database_health, redis_health, ledger.health)
        _listen(db, stack, {KEYS_CHANGED: keys.forget, PRICES_CHANGED: prices.expire})
        stack.push_async_callback(rollups.close)
        stack.push_async_callback(budgets.close)
        stack.push_async_callback(ledger.close, settings.server.shutdown_grace_seconds)
        await _in_background(
            stack,
            health.watch(),
            budgets.keep_alive(),
            idempotency.keep_purged(),
            CheckService(db, rollups, metrics, settings.budgets, clock).keep_checking(),
            ledger.keep_partitions(),
            openings.keep_counted(),
            rollups.keep_rolled_up(),
            prices.keep_fresh(),
            *_reconciling(settings, db, metrics, clock),
        )
        settlement = Settlement(prices, budgets, clock)
        yield Wiring(
            bill=BillService(db, rollups, clock),
            budget_admin=budget_admin,
            gateway=GatewayService(upstreams, reservations, ledger, settlement, clock),
            health=health,
            keys=keys,
            ledger=ledger,
            metrics=metrics,
            price_admin=PriceAdmin(db, prices, clock),
            rollups=rollups,
            spend_alerts=SpendAlertService(db, projects.exists),
            spend_limits=SpendLimitService(budget_admin, projects.exists),
            tracer=tracer,
            upstreams=upstreams,
        )
        health.is_draining = True


def _connect(
    settings: Settings, stack: AsyncExitStack, database_health: Dependency, redis_health: Dependency
) -> tuple[Database, Redis]:
    assert settings.database_url and settings.redis_url, "set by cli.py"  # noqa: PT018, S101
    db = Database(settings.database_url.get_secret_value(), settings.database, database_health)
    stack.push_async_callback(db.close)
    redis = Redis(settings.redis_url.get_secret_value(), settings.redis, redis_health)
    stack.push_async_callback(redis.close)
    return db, redis


def _listen(db: Database, stack: AsyncExitStack, listeners: dict[str, Callable[[str], None]]) -> None:
    """Call each listener with what is said on its channel."""
    notices = Notices(db)
    for channel, listener in listeners.items():
        notices.subscribe(channel, listener)
    notices.start()
    stack.push_async_callback(notices.close)


def _reconciling(settings: Settings, db: Database, metrics: Metrics, clock: Clock) -> list[Coroutine[None, None, None]]:
    """Return the daily comparison with the provider's bill, where there is a key for that."""
    if settings.reconciliation.admin_api_key is None:
        return []
    service = reconciliation_service(settings, db, clock)
    return [DailyReconciliation(db, service, metrics, clock).keep_checked()]


async def _upstream_service(settings: Settings, stack: AsyncExitStack, tracer: Tracer) -> UpstreamService:
    client = UpstreamClient(settings.upstream)
    stack.push_async_callback(client.close)
    return UpstreamService(client, await _upstreams(settings, stack), tracer)


async def _upstreams(settings: Settings, stack: AsyncExitStack) -> list[Upstream]:
    """Return the simulator, started here when it is wanted, and the upstream from the environment."""
    upstreams = []
    mode = settings.simulator.mode
    if mode == "on" or (mode == "auto" and settings.openai_api_key is None):
        api_key = secrets.token_hex(16)
        base_url = await stack.enter_async_context(serve_simulator(create_simulator(api_key=api_key)))
        upstreams.append(Upstream("simulator", base_url, api_key, models=("sim-*",)))
    if settings.openai_api_key is not None:
        api_key = settings.openai_api_key.get_secret_value()
        upstreams.append(Upstream(FIRST_UPSTREAM, settings.openai_base_url, api_key, models=("*",)))
    return upstreams


async def _in_background(stack: AsyncExitStack, *works: Coroutine[None, None, None]) -> None:
    tasks = [asyncio.create_task(work, name="background") for work in works]

    async def stop() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    stack.push_async_callback(stop)
