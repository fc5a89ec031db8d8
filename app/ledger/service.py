"""The ledger: every upstream call is written once, by group commit, on a task that no departing client can cancel."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from app.core.clock import Clock, monotonic_seconds
from app.core.db import Database, DatabaseUnavailable, HotConnection, Transaction
from app.core.group_commit import GroupCommit
from app.core.health import Dependency
from app.core.money import Nano
from app.errors import Forbidden, NotFound, Unavailable
from app.keys.caller import Caller
from app.ledger import receipt_repository, repository
from app.ledger.entries import Entry
from app.ledger.receipt_query import Attempts, ReceiptPage, ReceiptQuery, attempt_of, folded, only_attempt
from app.observability.metrics import Metrics
from app.setting_groups import Ledger as LedgerSettings

_log: Final = structlog.get_logger()
_BATCH_MAX: Final = 500
_ATTEMPTS_MAX: Final = 20
_RETRY_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0)
_RECEIPT_WAIT_SECONDS: Final = (0.0, 0.05, 0.15, 0.3)
_PARTITION_CHECK_SECONDS: Final = 3_600.0


Settle = Callable[[HotConnection, Sequence[Entry]], Awaitable[None]]
"""Writes entries, all of them or none, in one commit with what goes with them."""


class LedgerService:
    """Appends entries and reads receipts."""

    def __init__(
        self, db: Database, database_health: Dependency, settings: LedgerSettings, metrics: Metrics, clock: Clock
    ) -> None:
        self.health = Dependency("ledger")
        """Down while PostgreSQL answers but does not take entries: its disk is full, it only reads, a lock is held."""
        self._db = db
        self._database_health = database_health
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._settle: Settle = self.write
        self._group: GroupCommit[Entry, None] = GroupCommit(self._flush, batch_max=_BATCH_MAX)

    @property
    def pending(self) -> int:
        """How many entries are not committed yet."""
        return self._group.pending

    def settle_with(self, settle: Settle) -> None:
        """Let *settle* write what is appended, in one commit with what it is responsible for."""
        self._settle = settle

    def require_writable(self) -> None:
        """Raise Unavailable when a call made now could not be written: such a call must not be sent upstream."""
        if not (self._database_health.is_up and self.health.is_up):
            raise Unavailable("The database is not available right now, so no call can be charged or made.")
        if self._group.pending >= self._settings.queue_entries_max:
            raise Unavailable("Too many calls are waiting to be written to the ledger.")

    def append(self, entry: Entry, *, within_seconds: float = 0) -> asyncio.Future[None]:
        """Queue *entry* for the next commit; it is retried until PostgreSQL has it, and then the future is done.

        For others to share that commit it may wait for *within_seconds*.
        """
        return self._group.submit(entry, within_seconds=within_seconds)

    def hurry(self) -> None:
        """Let no entry wait any longer for others to share its commit."""
        self._group.hurry()

    async def write(self, connection: HotConnection, entries: Sequence[Entry]) -> None:
        """Write *entries* in the transaction that *connection* is in."""
        if entries:
            await repository.insert_entries(connection, entries)

    async def written(
        self, connection: HotConnection, ids: Sequence[UUID]
    ) -> dict[UUID, list[tuple[str, int, tuple[int, ...]]]]:
        """Return what the ledger says of *ids*: for each that it has, every (ending, cost in nano-dollars, windows)."""
        return await repository.find_written(connection, ids)

    async def orphaned(self, connection: HotConnection, ids: Sequence[UUID]) -> list[Entry]:
        """Return the entries with *ids* that were written for a process that was taken for dead."""
        return await repository.find_orphaned(connection, ids)

    async def sum_cost_by_model(
        self, tx: Transaction, since: datetime, *, payer: tuple[str, str] | None, without_window_id: int
    ) -> dict[str, int]:
        """Return what the calls cost that began since then, in nano-dollars by model, save those in the window.

        *payer* is a column, such as `project_id`, and its value; None is everybody.
        """
        return await repository.sum_cost_by_model(tx, since, payer=payer, without_window_id=without_window_id)

    async def get_attempts(self, caller: Caller, request_id: str) -> Attempts:
        """Return one request's attempts as far as *caller* may see them.

        Raises NotFound.

        A call is settled just after its answer ended, perhaps by another process, so a missing one is waited for.
        """
        for seconds in _RECEIPT_WAIT_SECONDS:
            await asyncio.sleep(seconds)
            async with self._db.transaction() as tx:
                limit = _ATTEMPTS_MAX + 1
                entries, cost = await repository.find_entries(tx, request_id, caller.seen_project_ids, limit)
            if entries:
                ids = dict.fromkeys(entry.id for entry in entries)
                attempts = [folded([entry for entry in entries if entry.id == each]) for each in ids]
                return Attempts(attempts[:_ATTEMPTS_MAX], len(attempts) > _ATTEMPTS_MAX, Nano(cost))
        raise NotFound(f"There is no request '{request_id}'.", param="request_id")

    async def list_receipts(self, caller: Caller, query: ReceiptQuery) -> ReceiptPage:
        """Return the receipts that *caller* may see and *query* asks for.

        Raises Forbidden when it asks for another project than the caller's, InvalidRequest for an unknown `after`.
        """
        seen = caller.seen_project_ids
        if seen is not None:
            if query.project_ids is not None and not set(query.project_ids) <= set(seen):
                raise Forbidden("You see the requests of your own project only.", param="project_id")
            query = query._replace(project_ids=query.project_ids or seen)
        after = None if query.after is None else attempt_of(query.after)
        async with self._db.transaction() as tx:
            if query.after is not None and after is None:
                after = only_attempt(await receipt_repository.find_attempts(tx, query.after, seen))
            entries = await receipt_repository.find_receipts(tx, query, after, query.limit + 1)
        return ReceiptPage(entries[: query.limit], has_more=len(entries) > query.limit)

    async def drain(self) -> None:
        """Wait until every entry so far is committed."""
        await self._group.drain()

    async def keep_partitions(self) -> None:
        """Make partitions ahead of time, now and every hour, until cancelled."""
        while True:
            try:
                await self.create_partitions()
            except Exception as error:  # noqa: BLE001 - tried again within the hour, months before it is needed
                _log.warning("ledger_partitions_not_made", reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(_PARTITION_CHECK_SECONDS)

    async def create_partitions(self) -> None:
        """Make the partitions of this month and of the months ahead."""
        async with self._db.transaction() as tx:
            await repository.create_partitions(tx, self._clock(), self._settings.partitions_months_ahead + 1)

    async def close(self, grace_seconds: float) -> None:
        """Commit what is pending; what cannot be written within *grace_seconds* is logged in full, never dropped."""
        try:
            await asyncio.wait_for(self._group.drain(), grace_seconds)
        except TimeoutError:
            for entry in self._group.take_pending():
                _log.error("ledger_entry_not_written", **_printable(entry))

    async def _flush(self, entries: Sequence[Entry]) -> Sequence[None]:
        attempt = 0
        has_partitions = False
        while True:
            self._metrics.ledger_pending(self._group.pending)
            started = monotonic_seconds()
            try:
                async with self._db.hot_connection() as connection:
                    await self._settle(connection, entries)
            except DatabaseUnavailable as error:
                if self._database_health.is_up:
                    self.health.down(error.reason)
                await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
                attempt += 1
            except Exception as error:
                if not has_partitions and repository.lacks_partition(error):
                    has_partitions = await self._have_partitions(entries)
                    continue
                if len(entries) == 1:
                    self.health.up()  # it takes others: with none left that waits, nobody else would find out
                    _log.exception("ledger_entry_not_written", **_printable(entries[0]))
                    raise
                for entry in entries:  # one of them is bad: find it, and write the others
                    await self._flush_alone(entry)
                break
            else:
                self.health.up()
                self._metrics.ledger_flushed(monotonic_seconds() - started)
                break
        self._metrics.ledger_pending(self._group.pending - len(entries))
        return [None] * len(entries)

    async def _have_partitions(self, entries: Sequence[Entry]) -> bool:
        """Make those that *entries* belong into; tells whether that was done.

        They are made for months ahead, by the clock: one that was far from right when it last was looked at.
        """
        try:
            async with self._db.transaction() as tx:
                for moment in {entry.settled_at for entry in entries}:
                    await repository.create_partitions(tx, moment, 1)
        except DatabaseUnavailable:
            return False
        return True

    async def _flush_alone(self, entry: Entry) -> None:
        try:
            await self._flush([entry])
        except Exception:  # noqa: BLE001 - already logged in full by _flush
            return


def _printable(entry: Entry) -> dict[str, object]:
    return {**entry._asdict(), "id": str(entry.id)}
