"""Builds the services of the feature `limits`."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.core.db import Database
from app.core.health import Dependency
from app.core.redis import Redis
from app.limits.admin_service import Exists, LimitAdminService
from app.limits.lease import OpenLeases
from app.limits.limit import Scope
from app.limits.project_service import ProjectRateLimitService
from app.limits.service import LimitService
from app.limits.store import LimitStore
from app.observability.metrics import Metrics
from app.settings import Settings


@dataclass(frozen=True)
class Limiting:
    """The services of the feature `limits`, and the work they do in the background."""

    service: LimitService
    admin: LimitAdminService
    rate_limits: ProjectRateLimitService
    health: Dependency
    """Whether limits are counted together with the other processes."""
    background: Sequence[Callable[[], Coroutine[None, None, None]]]


@asynccontextmanager
async def limiting(
    settings: Settings,
    db: Database,
    redis: Redis,
    metrics: Metrics,
    exists: Mapping[Scope, Exists],
    models: Callable[[], Iterable[str]],
) -> AsyncIterator[Limiting]:
    """Yield the services with the limits loaded; what they have on its way to Redis is finished when the block ends."""
    health = Dependency("limits", lambda is_up: metrics.limits_shared(is_up=is_up))
    open_leases = OpenLeases()
    store = LimitStore(redis, health, open_leases, settings.limits.redis_timeout_ms / 1_000)
    service = LimitService(db, store, open_leases, settings.limits, metrics)
    await service.load()
    yield Limiting(
        service=service,
        admin=LimitAdminService(db, service, exists),
        rate_limits=ProjectRateLimitService(db, service, exists["project"], models),
        health=health,
        background=(service.keep_fresh, store.keep_alive),
    )
    await store.close()
