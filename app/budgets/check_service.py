"""Proves the books: budgets say what entries and open reservations say, and the rollups are the ledger.

It only looks; what it finds is for people.
"""

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from app.budgets import check_repository as repository
from app.budgets.check import Books
from app.budgets.periods import is_zone
from app.core.clock import Clock
from app.core.db import Database
from app.ledger.rollup_service import RollupService
from app.ledger.spans import Span
from app.observability.metrics import Metrics
from app.setting_groups import Budgets as BudgetsSettings

_log: Final = structlog.get_logger()
_ROLLUPS_LOOKED_AT: Final = timedelta(days=1)


class CheckService:
    """Checks the books now and then, one process at a time."""

    def __init__(
        self, db: Database, rollups: RollupService, metrics: Metrics, settings: BudgetsSettings, clock: Clock
    ) -> None:
        self._db = db
        self._rollups = rollups
        self._metrics = metrics
        self._settings = settings
        self._clock = clock

    async def check(self) -> Books | None:
        """Return what does not add up, None when another process is checking; raises DatabaseUnavailable."""
        async with self._db.long_transaction() as tx:
            if not await repository.try_to_be_only_checker(tx):
                return None
            windows = await repository.find_drift(tx)
        now = self._clock()
        rollups = await self._rollups.find_drift(Span(now - _ROLLUPS_LOOKED_AT, now))
        return Books(windows, [f"{drift.width} {drift.starts_at:%Y-%m-%d %H:%M} {drift.missing}" for drift in rollups])

    async def find_unknown_zones(self) -> list[str]:
        """Return the time zones of budgets in force that this machine does not know."""
        async with self._db.transaction() as tx:
            return [name for name in await repository.list_zones(tx) if not is_zone(name)]

    async def keep_checking(self) -> None:
        """Check at every interval, until cancelled; each difference is a log line, and their number a metric."""
        while True:
            await asyncio.sleep(self._settings.check_interval_seconds)
            try:
                books = await self.check()
            except Exception as error:  # noqa: BLE001 - the next check must come
                _log.warning("books_not_checked", reason=f"{type(error).__name__}: {error}")
                continue
            if books is not None:
                self._report(books)

    def _report(self, books: Books) -> None:
        self._metrics.books_checked(len(books.windows), len(books.rollups), self._clock().timestamp())
        for line in (*map(str, books.windows), *books.rollups):
            _log.error("books_do_not_add_up", difference=line)
