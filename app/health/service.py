"""Whether this process can do its work, and why not. Never cached for longer than a probe takes."""

import asyncio
from dataclasses import dataclass
from typing import Final, Literal

from app.core.db import Database, DatabaseUnavailable
from app.core.health import Dependency
from app.core.redis import Redis
from app.core.schema import SchemaError, check

_WATCH_SECONDS: Final = 1.0

State = Literal["ok", "degraded", "unavailable"]


@dataclass(frozen=True, slots=True)
class Check:
    """One part of readiness; `reason` is None while it is fine."""

    name: str
    is_ok: bool
    reason: str | None
    is_required: bool
    """Without it no call can be served; without the others some limits are looser."""


class HealthService:
    """Checks what this process depends on."""

    def __init__(
        self,
        db: Database,
        redis: Redis,
        database: Dependency,
        redis_health: Dependency,
        ledger: Dependency,
        limits: Dependency,
    ) -> None:
        self._db = db
        self._redis = redis
        self._database = database
        self._redis_health = redis_health
        self._ledger = ledger
        self._limits = limits
        self.is_draining = False
        """Set when the process was told to stop: calls that are open are finished, no new ones should come."""

    async def readiness(self) -> tuple[State, list[Check]]:
        """Return whether calls can be served, and each check with its reason."""
        await asyncio.gather(self._ping_database(), self._redis.ping())
        stopping = "stopping: finishing the calls that are open" if self.is_draining else None
        checks = [
            _check("database", self._database.reason),
            _check("schema", await self._schema_reason()),
            _check("ledger", self._ledger.reason),
            _check("redis", self._redis_health.reason, is_required=False),
            _check("limits", self._limits_reason(), is_required=False),
            _check("accepting", stopping),
        ]
        failed = [check for check in checks if not check.is_ok]
        if not failed:
            return "ok", checks
        return ("unavailable" if any(check.is_required for check in failed) else "degraded"), checks

    def _limits_reason(self) -> str | None:
        reason = self._limits.reason
        return reason and f"not counted together with the other processes: {reason}"

    async def watch(self) -> None:
        """Notice that a dependency is away, or back, without waiting for a call; until cancelled."""
        while True:
            await asyncio.gather(self._ping_database(), self._redis.ping())
            await asyncio.sleep(_WATCH_SECONDS)

    async def _ping_database(self) -> None:
        try:
            await self._db.ping()
        except DatabaseUnavailable:
            return  # its health has the reason

    async def _schema_reason(self) -> str | None:
        if not self._database.is_up:
            return "unknown while the database is away"
        try:
            await check(self._db)
        except DatabaseUnavailable as error:
            return error.reason
        except SchemaError as error:
            return str(error)
        return None


def _check(name: str, reason: str | None, *, is_required: bool = True) -> Check:
    return Check(name, is_ok=reason is None, reason=reason, is_required=is_required)
