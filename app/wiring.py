"""The composition root: makes every client, store and service once, and closes them in reverse."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from app.budgets.service import BudgetService
from app.core import schema
from app.core.clock import Clock, utc_now
from app.core.db import Database, DatabaseUnavailable
from app.core.health import Dependency
from app.core.notify import Notices
from app.core.redis import Redis
from app.gateway.service import GatewayService
from app.gateway.settlement import Settlement
from app.health.service import HealthService
from app.keys.service import KEYS_CHANGED, KeyService
from app.ledger.service import LedgerService
from app.observability.metrics import Metrics
from app.observability.tracing import Tracer
from app.prices.service import PriceService
from app.settings import Settings
from app.simulator.app import create_simulator
from app.simulator.server import serve_simulator
from app.upstreams.client import UpstreamClient
from app.upstreams.routing import Upstream
from app.upstreams.service import UpstreamService

_log: Final = structlog.get_logger()
_REFRESH_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Wiring:
    """Everything that routes use."""

    gateway: GatewayService
    health: HealthService
    keys: KeyService
    ledger: LedgerService
    metrics: Metrics
    tracer: Tracer
    upstreams: UpstreamService


@asynccontextmanager
async def wire(settings: Settings, metrics: Metrics, tracer: Tracer, clock: Clock = utc_now) -> AsyncIterator[Wiring]:
    """Build the services of one process and run its background work for as long as the block runs.

    Raises SchemaError when the database's schema is not the one this Weir knows, DatabaseUnavailable without one.
    """
    assert settings.database_url and settings.redis_url and settings.keys.pepper, "set by cli.py"  # noqa: PT018, S101
    database_health = Dependency("database", lambda is_up: metrics.database_reachable(is_up=is_up))
    redis_health = Dependency("redis", lambda is_up: metrics.redis_reachable(is_up=is_up))
    async with AsyncExitStack() as stack:
        db = Database(settings.database_url.get_secret_value(), settings.database, database_health)
        stack.push_async_callback(db.close)
        await schema.check(db)
        redis = Redis(settings.redis_url.get_secret_value(), settings.redis, redis_health)
        stack.push_async_callback(redis.close)
        prices = PriceService(db)
        await prices.load()
        ledger = LedgerService(db, database_health, settings.ledger, metrics, clock)
        await ledger.create_partitions()
        budgets = BudgetService(db, ledger, settings.budgets, clock)
        await budgets.start()
        keys = KeyService(db, settings.keys.pepper.get_secret_value().encode(), settings.keys, clock)
        client = UpstreamClient(settings.upstream)
        stack.push_async_callback(client.close)
        upstreams = UpstreamService(client, await _upstreams(settings, stack), tracer)
        health = HealthService(db, redis, database_health, redis_health, ledger.health)
        notices = Notices(db)
        notices.subscribe(KEYS_CHANGED, keys.forget)
        notices.start()
        stack.push_async_callback(notices.close)
        stack.push_async_callback(budgets.close)
        stack.push_async_callback(ledger.close, settings.server.shutdown_grace_seconds)
        await _in_background(stack, health.watch(), budgets.keep_alive(), ledger.keep_partitions(), _refresh(prices))
        yield Wiring(
            gateway=GatewayService(upstreams, prices, budgets, ledger, Settlement(prices, budgets, clock), clock),
            health=health,
            keys=keys,
            ledger=ledger,
            metrics=metrics,
            tracer=tracer,
            upstreams=upstreams,
        )
        health.is_draining = True


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
        upstreams.append(Upstream("openai", settings.openai_base_url, api_key, models=("*",)))
    return upstreams


async def _in_background(stack: AsyncExitStack, *works: Coroutine[None, None, None]) -> None:
    tasks = [asyncio.create_task(work, name="background") for work in works]

    async def stop() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    stack.push_async_callback(stop)


async def _refresh(prices: PriceService) -> None:
    while True:
        await asyncio.sleep(_REFRESH_SECONDS)
        try:
            await prices.load()
        except DatabaseUnavailable:
            continue  # the prices in memory go on being used; `watch` reports the database
        except ValueError as error:
            _log.error("prices_not_loaded", reason=str(error))
