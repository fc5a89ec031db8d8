"""Nothing is sent upstream without a committed reservation, and each reservation ends exactly once.

The reservations of a process that died, whenever and however, are found by any other and charged at their ceilings.
"""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid4

import structlog

from app.budgets import repository
from app.budgets.reservation import Reservation, entries_to_write, orphaned
from app.core.clock import Clock
from app.core.db import Database, DatabaseUnavailable, HotConnection
from app.core.group_commit import GroupCommit
from app.ledger.entries import Entry
from app.ledger.service import LedgerService
from app.settings import Budgets as BudgetsSettings

_log: Final = structlog.get_logger()
_BATCH_MAX: Final = 500
_RETRY_SECONDS: Final = 0.25


class BudgetService:
    """Reserves before a call, settles after it, sweeps after the dead."""

    def __init__(self, db: Database, ledger: LedgerService, settings: BudgetsSettings, clock: Clock) -> None:
        self._db = db
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._reserving: GroupCommit[Reservation, None] = GroupCommit(self._reserve, batch_max=_BATCH_MAX)
        self._releasing: GroupCommit[UUID, None] = GroupCommit(self._release, batch_max=_BATCH_MAX)
        self.process_id = uuid4()
        ledger.settle_with(self._claim)

    async def start(self) -> None:
        """Say that this process is alive, before it makes its first reservation."""
        async with self._db.hot_connection() as connection:
            await repository.beat(connection, self.process_id)

    async def reserve(self, reservation: Reservation) -> None:
        """Commit *reservation*; raises DatabaseUnavailable, and then nothing may be sent.

        A caller that is cancelled meanwhile, or told that it failed although it was committed, leaves nothing open.
        """
        committed = self._reserving.submit(reservation)
        try:
            await asyncio.shield(committed)
        except BaseException:
            if committed.done():  # it failed, perhaps only on the way back
                self.release(reservation.id)
            else:  # the caller has left; what is on its way cannot be called back
                committed.add_done_callback(lambda _: self.release(reservation.id))
            raise

    def release(self, reservation_id: UUID) -> None:
        """End a reservation for which nothing was sent: no entry. Retried until PostgreSQL knows."""
        self._releasing.submit(reservation_id)

    def settle(self, entry: Entry) -> None:
        """End the reservation with the id of *entry* by that entry, in one commit. Retried until PostgreSQL knows."""
        self._ledger.append(entry)

    async def keep_alive(self) -> None:
        """Beat, and sweep after processes that do not, until cancelled."""
        while True:
            try:
                async with self._db.hot_connection() as connection:
                    await repository.beat(connection, self.process_id)
                await self.sweep()
            except DatabaseUnavailable:
                pass  # nobody can sweep us either, as that takes the same database
            except Exception as error:  # noqa: BLE001 - the next beat must come
                _log.error("sweep_failed", reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(self._settings.heartbeat_interval_seconds)

    async def sweep(self) -> int:
        """Charge the open reservations of dead processes at their ceilings; return how many there were."""
        lease_seconds = self._settings.lease_seconds
        count = 0
        while True:
            async with self._db.hot_connection() as connection, connection.transaction():
                orphans = await repository.take_orphans(connection, lease_seconds, _BATCH_MAX)
                await self._ledger.write(connection, orphaned(orphans, self._clock()))
                await repository.forget_dead_processes(connection, lease_seconds)
            if not orphans:
                return count
            count += len(orphans)
            _log.warning("reservations_orphaned", count=len(orphans))

    async def close(self) -> None:
        """Leave: what is released is released, and this process is not waited for. The ledger must be closed before."""
        try:
            async with asyncio.timeout(self._settings.lease_seconds):
                await self._reserving.drain()
                await self._releasing.drain()
            async with self._db.hot_connection() as connection:
                await repository.delete_process(connection, self.process_id)
        except (TimeoutError, DatabaseUnavailable):
            _log.warning("process_not_signed_off", process_id=str(self.process_id))

    async def _reserve(self, reservations: Sequence[Reservation]) -> Sequence[None]:
        async with self._db.hot_connection() as connection:
            await repository.insert_reservations(connection, reservations)
        return [None] * len(reservations)

    async def _release(self, ids: Sequence[UUID]) -> Sequence[None]:
        while True:
            try:
                async with self._db.hot_connection() as connection:
                    await repository.take_reservations(connection, ids)
            except DatabaseUnavailable:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return [None] * len(ids)

    async def _claim(self, connection: HotConnection, entries: Sequence[Entry]) -> list[Entry]:
        """Take the reservations of *entries* and return what must be written, in the transaction that writes it."""
        ids = [entry.id for entry in entries]
        taken = await repository.take_reservations(connection, ids)
        missing = [entry_id for entry_id in ids if entry_id not in taken]
        written = await self._ledger.written(connection, missing) if missing else {}
        return entries_to_write(entries, taken, written)
