"""Keeps the rollups equal to the ledger: incrementally, by one process at a time, and anew when somebody asks."""

from collections.abc import Sequence
from typing import Final

import structlog

from app.core.background import keep_doing
from app.core.db import Database
from app.core.group_commit import GroupCommit
from app.ledger import rollup_repository as repository
from app.ledger.repository import allow_long_read
from app.ledger.rollup_repository import Drift
from app.ledger.spans import LENGTHS, Span, Width, aligned, steps
from app.setting_groups import Ledger as LedgerSettings

_log: Final = structlog.get_logger()
_MINUTES_MAX: Final = 10
"""Done in one transaction: a backlog takes several, so that no statement takes too long."""
_ASKERS_MAX: Final = 10_000


class RollupService:
    """Rolls up what the ledger gains; every method raises DatabaseUnavailable when PostgreSQL is away or too busy."""

    def __init__(self, db: Database, settings: LedgerSettings) -> None:
        self._db = db
        self._settings = settings
        self._asked: GroupCommit[None, None] = GroupCommit(self._roll_up, batch_max=_ASKERS_MAX)

    async def roll_up(self) -> None:
        """Return when every entry that is committed now is in the rollups; who asks meanwhile shares the next run."""
        await self._asked.submit(None)

    async def rebuild(self, span: Span) -> None:
        """Make the rollups of the hours in *span* anew, and of their days.

        Never for months whose partition was dropped: their rollups are all that is left of them.
        """
        [hours] = aligned([span], "hour")
        for hour in steps(hours, "hour"):
            async with self._db.transaction() as tx:
                await repository.lock_rollups(tx)
                await repository.make_rollups(tx, [hour])

    async def find_drift(self, span: Span) -> list[Drift]:
        """Return where rollups of the minutes, hours and days in *span* differ from the entries, up to 100 per width.

        Reads every entry of those days. What is not rolled up yet, as it is committed meanwhile, is left out.
        """
        await self.roll_up()
        found: list[Drift] = []
        for width in LENGTHS:
            found += await self._find_drift(width, span)
        return found

    async def keep_rolled_up(self) -> None:
        """Roll up now and at every interval, until cancelled."""
        await keep_doing(self.roll_up, self._settings.rollup_interval_seconds, failed="ledger_not_rolled_up")

    async def close(self) -> None:
        """Wait for the run that is on its way."""
        await self._asked.drain()

    async def _find_drift(self, width: Width, span: Span) -> list[Drift]:
        [whole] = aligned([span], width)
        async with self._db.long_transaction() as tx:
            await allow_long_read(tx)
            return await repository.find_drift(tx, width, whole)

    async def _roll_up(self, asked: Sequence[None]) -> Sequence[None]:
        while await self._roll_up_some():
            pass
        return asked

    async def _roll_up_some(self) -> bool:
        """Roll up some of the minutes that have new entries, in one transaction; return whether there may be more."""
        async with self._db.transaction() as tx:
            await repository.lock_rollups(tx)
            minutes, may_be_more = await repository.take_changed_minutes(tx, _MINUTES_MAX)
            if minutes:
                await repository.make_rollups(tx, [Span(minute, minute + LENGTHS["minute"]) for minute in minutes])
        return may_be_more
