"""The check of every day: once a day, by one process of all, of the last days that have ended; every process shows it.

Those days and not just the last one, as a provider may add to a day after it has ended.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import structlog

from app.core.background import keep_doing
from app.core.clock import Clock
from app.core.db import Database
from app.observability.metrics import Metrics
from app.reconciliation import repository
from app.reconciliation.service import ReconciliationService

_log: Final = structlog.get_logger()
_HOUR: Final = timedelta(hours=6)
"""After midnight in UTC: what is late by a few hours is there by then."""
_DAYS: Final = 3
_INTERVAL_SECONDS: Final = 600.0
_CLOSE_SECONDS: Final = 5.0


class DailyReconciliation:
    """Keeps the last days checked."""

    def __init__(self, db: Database, reconciliation: ReconciliationService, metrics: Metrics, clock: Clock) -> None:
        self._db = db
        self._reconciliation = reconciliation
        self._metrics = metrics
        self._clock = clock

    async def keep_checked(self) -> None:
        """Check when it is time to, also when that moment was missed, and show the result; until cancelled."""
        await keep_doing(self.check_if_due, _INTERVAL_SECONDS, failed="not_reconciled")

    async def check_if_due(self) -> None:
        """Check the last days unless that was done since six o'clock, or is being done; show the last result.

        Raises ProviderFailed, DatabaseUnavailable, and what connecting to PostgreSQL raises.
        """
        due_at = _last_due(self._clock())
        try:
            if not await self._is_done(due_at):
                await self._check_alone(due_at)
        finally:
            await self._show(due_at)

    async def _check_alone(self, due_at: datetime) -> None:
        # A connection of its own, as it holds the lock while the provider is asked; the lock dies with it.
        connection = await self._db.connect()
        try:
            if await repository.try_daily_lock(connection) and not await self._is_done(due_at):
                for day in reversed(_days(due_at)):
                    await self._reconciliation.check(day)
        finally:
            await connection.close(timeout=_CLOSE_SECONDS)

    async def _is_done(self, due_at: datetime) -> bool:
        # The last day is checked last, so that it tells of all.
        async with self._db.transaction() as tx:
            checked_at = await repository.find_checked_at(tx, self._reconciliation.upstream, _days(due_at)[0])
        return checked_at is not None and checked_at >= due_at

    async def _show(self, due_at: datetime) -> None:
        days = _days(due_at)
        async with self._db.transaction() as tx:
            state = await repository.find_state(tx, self._reconciliation.upstream, days[-1], days[0])
        if state is not None:
            self._metrics.reconciled(self._reconciliation.upstream, state.difference_nano, state.checked_at)


def _last_due(now: datetime) -> datetime:
    today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    return today + _HOUR if now >= today + _HOUR else today - timedelta(days=1) + _HOUR


def _days(due_at: datetime) -> list[date]:
    """Return the last days that had ended at *due_at*, the last one first."""
    return [due_at.date() - timedelta(days=number) for number in range(1, _DAYS + 1)]
