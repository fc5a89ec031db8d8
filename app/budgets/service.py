"""Nothing is sent upstream without a committed reservation, and each reservation ends exactly once."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final
from uuid import UUID, uuid4

import structlog

from app.budgets import repository, windows_repository
from app.budgets.admission import Demand, Grant, Shortfall, Window, too_full
from app.budgets.budget import Payer
from app.budgets.group import UNPRICED, Answer, Asked, admit, answer_to, granted_of
from app.budgets.hold_service import Holds
from app.budgets.lease_service import Lease
from app.budgets.refusal import Unpriced, refusal
from app.budgets.reservation import Hold, Reservation, holds_of, moves_of, settle
from app.budgets.windows_service import BudgetsChanged, WindowService
from app.core.clock import Clock, monotonic_seconds
from app.core.db import Database, DatabaseUnavailable, HotConnection
from app.core.group_commit import GroupCommit
from app.core.money import Nano
from app.idempotency.key import KeyClaim, Placed, StoredAnswer
from app.idempotency.service import IdempotencyService
from app.ledger.entries import Entry
from app.ledger.service import LedgerService
from app.setting_groups import Budgets as BudgetsSettings

_log: Final = structlog.get_logger()
_BATCH_MAX: Final = 500
_RETRY_SECONDS: Final = 0.25
_POLL_SECONDS: Final = 0.1
"""How often a call that waits for room looks for what other processes gave back."""
_SETTLE_WITHIN_SECONDS: Final = 0.02
"""For how long a settlement that nobody waits for may wait for others: alone it costs as much as reserving."""

_Result = Answer | Exception


class BudgetService:
    """Reserves before a call, settles after it."""

    def __init__(
        self,
        db: Database,
        ledger: LedgerService,
        idempotency: IdempotencyService,
        settings: BudgetsSettings,
        clock: Clock,
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._idempotency = idempotency
        self._clock = clock
        self._answers: dict[UUID, StoredAnswer] = {}
        self._settings = settings
        self._windows = WindowService()
        self._holds = Holds()
        # Where nobody may wait for what comes back, it has to come back at once.
        self._settle_within_seconds = _SETTLE_WITHIN_SECONDS if settings.reserve_wait_ms else 0.0
        self._tight: set[int] = set()
        """Windows that had too little room for a call once: what they held comes back at once."""
        self._reserving: GroupCommit[Asked, _Result] = GroupCommit(
            self._reserve,
            batch_max=_BATCH_MAX,
            abandoned=lambda asked, _: self.release(asked.reservation.id),
        )
        self._releasing: GroupCommit[UUID, None] = GroupCommit(self._release, batch_max=_BATCH_MAX)
        self.process_id = uuid4()
        self.lease = Lease(db, self.process_id, settings, ledger, clock)
        ledger.settle_with(self._settle)

    def require_writable(self) -> None:
        """Raise Unavailable when a call made now could not be written to the ledger."""
        self._ledger.require_writable()

    async def reserve(
        self, reservation: Reservation, demand: Demand | None, claim: KeyClaim | None = None
    ) -> Grant | None:
        """Commit *reservation*, holding what *demand* says in every budget that it counts in; None: it has no price.

        Where it does not fit only because calls under way hold the rest, it waits for them for a while. Returns None
        when the idempotency key of *claim* is in use. Raises BudgetSpent, BudgetReserved, ModelNotPriced or
        DatabaseUnavailable. In all these cases nothing may be sent. A caller that is cancelled meanwhile, or told that
        it failed although it was committed, leaves nothing open.
        """
        deadline = monotonic_seconds() + self._settings.reserve_wait_ms / 1_000
        while True:
            answer = await self._try_to_reserve(Asked(reservation, demand, claim))
            if answer is None or isinstance(answer, Grant):
                return answer
            left_seconds = deadline - monotonic_seconds()
            if isinstance(answer, Unpriced) or answer.is_spent or left_seconds <= 0:
                raise refusal(answer, self._holds.retry_after_ms)
            self._ledger.hurry()
            await self._holds.wait_for_return(min(left_seconds, _POLL_SECONDS))

    async def preview(self, payer: Payer, demand: Demand | None) -> tuple[Grant | Shortfall | Unpriced, list[Window]]:
        """Return what `reserve` would say now, and the windows as they stand; raises DatabaseUnavailable."""
        windows: list[Window] | None = None
        of_payer = WindowService()  # not the group's that is being reserved, which would find other budgets there
        async with self._db.hot_connection() as connection:
            while windows is None:
                await of_payer.prepare(connection, [payer])
                with suppress(BudgetsChanged):
                    async with connection.transaction():
                        [windows] = await of_payer.lock(connection, [payer])
        return answer_to(payer.model, demand, [replace(window) for window in windows]), windows

    async def _try_to_reserve(self, asked: Asked) -> Answer:
        reservation_id = asked.reservation.id
        self._holds.begin(reservation_id)
        committed = self._reserving.submit(asked)
        try:
            result = await committed
            if isinstance(result, Exception):
                raise result
        except BaseException:
            if not committed.cancelled():  # it failed, perhaps only on the way back
                self.release(reservation_id)
            raise
        if not isinstance(result, Grant):
            self._holds.forget(reservation_id)
        return result

    def release(self, reservation_id: UUID) -> asyncio.Future[None]:
        """End a reservation for which nothing was sent: no entry. Retried until PostgreSQL knows.

        Then the future that is returned is done; nobody has to wait for it.
        """
        released = self._releasing.submit(reservation_id)
        released.add_done_callback(lambda _: self._holds.end(reservation_id))
        return released

    def settle(
        self, entry: Entry, answer: StoredAnswer | None = None, *, has_key: bool = False
    ) -> asyncio.Future[None]:
        """End the reservation with the id of *entry* by that entry, in one commit. Retried until PostgreSQL knows.

        Then the future that is returned is done; nobody has to wait for it. In the same commit *answer* is kept for the
        idempotency key that it was claimed with. A call that *has_key* frees it so: the next one with it may be there.
        """
        is_awaited = has_key or self._holds.are_awaited or not self._tight.isdisjoint(entry.budget_window_ids)
        settled = self._ledger.append(entry, within_seconds=0.0 if is_awaited else self._settle_within_seconds)
        if answer is not None:
            self._answers[entry.id] = answer
            settled.add_done_callback(lambda _: self._answers.pop(entry.id))
        return settled

    async def keep_alive(self) -> None:
        """Keep the lease of this process until cancelled."""
        await self.lease.keep(self._holds, self.release)

    async def close(self) -> None:
        """Leave: what is released is released, and this process is not waited for. The ledger must be closed before."""
        try:
            async with asyncio.timeout(self._settings.lease_seconds):
                await self._reserving.drain()
                await self._releasing.drain()
            await self.lease.end()
        except (TimeoutError, DatabaseUnavailable):
            _log.warning("process_not_signed_off", process_id=str(self.process_id))

    async def _reserve(self, asked: Sequence[Asked]) -> Sequence[_Result]:
        """Answer a group; if one of it cannot be written, that one fails alone, and the others are answered."""
        try:
            return await self._reserve_group(asked)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - raised to whom it is about
            if len(asked) == 1:
                return [error]
            return [result for each in asked for result in await self._reserve([each])]

    async def _reserve_group(self, asked: Sequence[Asked]) -> Sequence[Answer]:
        """Answer a whole group in one commit: those that fit are held and written, the others leave no trace.

        Whoever makes a budget keeps reservations from being inserted until it is committed, and counts those that are
        open by then. A group that finds the budgets changed as it is written begins again: no call is missed.
        """
        payers = [each.reservation.payer for each in asked]
        is_prepared = self._windows.knows(payers)
        async with self._db.hot_connection() as connection:
            if is_prepared and (answers := await self._reserve_at_once(connection, asked, payers)) is not None:
                return answers
            while True:
                if not is_prepared:
                    await self._windows.prepare(connection, payers)
                with suppress(BudgetsChanged):
                    return await self._reserve_one_by_one(connection, asked, payers)
                is_prepared = False

    async def _reserve_at_once(
        self, connection: HotConnection, asked: Sequence[Asked], payers: Sequence[Payer]
    ) -> Sequence[Answer] | None:
        """Answer a group whose budgets have room for all of it, in one statement; None, and no trace, if they have not.

        What each call gets is the same as one by one: where there is room for all, none meets another.
        """
        if any(each.claim is not None for each in asked):
            return None
        imagined, current = self._windows.imagine(payers)
        answers, granted = admit(asked, imagined)
        fits = await repository.write_if_room(connection, current, holds_of(granted), granted)
        return answers if fits else None

    async def _reserve_one_by_one(
        self, connection: HotConnection, asked: Sequence[Asked], payers: Sequence[Payer]
    ) -> Sequence[Answer]:
        async with connection.transaction():
            windows = await self._windows.lock(connection, payers)
            answers, _ = admit(asked, windows)
            for each, own in zip(asked, windows, strict=True):
                self._tight.update(too_full(each.demand or UNPRICED, own))
            await self._claim_keys(connection, asked, answers)
            granted = granted_of(asked, answers)
            moves = holds_of(granted)
            version, now = await repository.write_group(connection, self._windows.version, moves, granted)
            self._windows.require_current(payers, version, now)
        return answers

    async def _claim_keys(self, connection: HotConnection, asked: Sequence[Asked], answers: list[Answer]) -> None:
        """Take back the grants of those whose idempotency keys are in use."""
        placed = {
            at: Placed(each.reservation.id, each.reservation.request_id, each.claim)
            for at, (each, answer) in enumerate(zip(asked, answers, strict=True))
            if each.claim is not None and isinstance(answer, Grant)
        }
        claimed = await self._idempotency.claim(connection, list(placed.values()))
        for at, each in placed.items():
            if each.reservation_id not in claimed:
                answers[at] = None

    async def _release(self, ids: Sequence[UUID]) -> Sequence[None]:
        while True:
            try:
                async with self._db.hot_connection() as connection, connection.transaction():
                    taken = await repository.take_reservations(connection, ids)
                    swept = [reservation_id for reservation_id in ids if reservation_id not in taken]
                    corrections = await self._corrections(connection, swept) if swept else []
                    await windows_repository.move(connection, moves_of(corrections, taken))
                    await self._ledger.write(connection, corrections)
            except DatabaseUnavailable:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return [None] * len(ids)

    async def _corrections(self, connection: HotConnection, ids: Sequence[UUID]) -> list[Entry]:
        """Return what gives back the ceilings that were charged for *ids* while this process was taken for dead."""
        orphaned = await self._ledger.orphaned(connection, ids)
        now = self._clock()
        free = [each._replace(settled_at=now, ending="released", cost_nano=Nano(0), flags=()) for each in orphaned]
        written = await self._ledger.written(connection, ids)
        return settle(free, {}, written)[0]

    async def _settle(self, connection: HotConnection, entries: Sequence[Entry]) -> None:
        """Settle a group of the ledger's; what cannot be written stays reserved, and is charged after this process."""
        await self._write_settled(connection, entries)
        for entry in entries:
            self._holds.end(entry.id)

    async def _write_settled(self, connection: HotConnection, entries: Sequence[Entry]) -> None:
        """Write a group of settlements in one commit: in one statement if each ends the reservation that it knows.

        What nothing was reserved for is only written, before the others: a second try skips what is there.
        """
        cached = [entry for entry in entries if entry.outcome == "cached"]
        if cached:
            await self._ledger.write(connection, cached)
            entries = [entry for entry in entries if entry.outcome != "cached"]
            if not entries:
                return
        kept = self._answers  # of hardly any call
        answers = {entry.id: kept[entry.id] for entry in entries if entry.id in kept} if kept else {}
        withholds = self._settings.withhold_estimates
        remembered = {entry.id: Hold(entry.ceiling_nano, entry.budget_window_ids) for entry in entries}
        to_write, moves = settle(entries, remembered, {}, withholds_estimates=withholds)
        if not answers and await repository.settle_if_open(connection, to_write, moves):
            return
        async with connection.transaction():
            ids = [entry.id for entry in entries]
            taken = await repository.take_reservations(connection, ids)
            missing = [entry_id for entry_id in ids if entry_id not in taken]
            written = await self._ledger.written(connection, missing) if missing else {}
            to_write, moves = settle(entries, taken, written, withholds_estimates=withholds)
            await windows_repository.move(connection, moves)
            claimed = {entry_id: answer for entry_id, answer in answers.items() if entry_id in taken}
            await self._idempotency.store(connection, claimed)
            await self._ledger.write(connection, to_write)
