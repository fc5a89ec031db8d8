"""The lease of this process on its reservations: while it beats, they are its own.

Those of a process that died, whenever and however, are found by any other and charged at their ceilings.
"""

import asyncio
from collections.abc import Callable
from typing import Final
from uuid import UUID

import structlog

from app.budgets import repository, windows_repository
from app.budgets.hold_service import Holds
from app.budgets.reservation import moves_of, orphaned
from app.core.clock import Clock, monotonic_seconds
from app.core.db import Database, DatabaseUnavailable
from app.ledger.service import LedgerService
from app.setting_groups import Budgets as BudgetsSettings

_log: Final = structlog.get_logger()
_BATCH_MAX: Final = 500


class Lease:
    """Beats, sweeps after processes that do not, and releases strays."""

    def __init__(
        self, db: Database, process_id: UUID, settings: BudgetsSettings, ledger: LedgerService, clock: Clock
    ) -> None:
        self._db = db
        self._process_id = process_id
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._sweeps_from_seconds = 0.0

    async def beat(self) -> None:
        """Say that this process is alive: also once before it makes its first reservation.

        Where that is the first time, or late by the database's clock, nobody is swept for a while. It may have been
        away, or have hung, or its clock jumped, or this machine slept: then the others could not beat either.
        """
        late_seconds = 2 * self._settings.heartbeat_interval_seconds
        async with self._db.hot_connection() as connection:
            if not await repository.beat(connection, self._process_id, late_seconds):
                self._let_others_beat()

    async def keep(self, holds: Holds, release: Callable[[UUID], object]) -> None:
        """Beat until cancelled, sweep after processes that do not, and *release* what is open but not in *holds*."""
        while True:
            try:
                await self.beat()
                if monotonic_seconds() >= self._sweeps_from_seconds:
                    await self.sweep()
                await self.release_strays(holds, release)
            except DatabaseUnavailable:
                self._let_others_beat()
            except Exception as error:  # noqa: BLE001 - the next beat must come
                _log.error("sweep_failed", reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(self._settings.heartbeat_interval_seconds)

    def _let_others_beat(self) -> None:
        """Take nobody for dead before whoever lives had the time to beat."""
        self._sweeps_from_seconds = monotonic_seconds() + 2 * self._settings.heartbeat_interval_seconds

    async def sweep(self) -> int:
        """Charge the open reservations of dead processes at their ceilings; return how many there were."""
        lease_seconds = self._settings.lease_seconds
        count = 0
        while True:
            async with self._db.hot_connection() as connection, connection.transaction():
                orphans = await repository.take_orphans(connection, lease_seconds, _BATCH_MAX)
                entries = orphaned(orphans, self._clock())
                held = {orphan.id: orphan.hold for orphan in orphans}
                await windows_repository.move(connection, moves_of(entries, held))
                await self._ledger.write(connection, entries)
                await repository.forget_dead_processes(connection, lease_seconds)
            if not orphans:
                return count
            count += len(orphans)
            _log.warning("reservations_orphaned", count=len(orphans))

    async def release_strays(self, holds: Holds, release: Callable[[UUID], object]) -> None:
        """Release what was committed after its caller was told that it failed: nothing was sent for it."""
        async with self._db.hot_connection() as connection:
            open_ids = await repository.find_open(connection, self._process_id)
        for stray in holds.find_unknown(open_ids):
            release(stray)

    async def end(self) -> None:
        """Sign off: what is open now has nobody left who could settle it."""
        async with self._db.hot_connection() as connection:
            await repository.delete_process(connection, self._process_id)
