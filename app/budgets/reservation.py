"""A reservation: what was promised for one attempt before anything was sent upstream, and how it can end. Pure.

It ends exactly once: settled, estimated or released by the process that made it, or orphaned by a sweep when that
process is dead. A settlement that comes after the sweep becomes a correction, never a second charge.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import add
from typing import Final, NamedTuple, Self
from uuid import UUID

from app.budgets.budget import Payer
from app.core.money import Nano
from app.ledger.entries import Entry


class Move(NamedTuple):
    """What changes in a window, in nano-dollars."""

    reserved_nano: int = 0
    spent_nano: int = 0
    withheld_nano: int = 0


Moves = dict[int, Move]
"""What changes in each window, by its id."""

_Sums = defaultdict[tuple[int, ...], list[int]]
"""The members of a Move, by the windows that calls count in together."""
_Written = Mapping[UUID, Sequence[tuple[str, int, tuple[int, ...]]]]

CORRECTION: Final = "correction"
"""Flag of the entry that a process which was taken for dead adds: the difference to what the sweep charged."""
WITHHELD: Final = "withheld"
"""Flag of an entry whose cost is an estimate: what it may have cost beyond that is withheld from its budgets."""
UNRESERVED: Final = "unreserved"
"""Flag of an entry whose reservation is nowhere: somebody has deleted it by hand."""


@dataclass(slots=True)
class Hold:
    """What an open reservation holds, and in which windows."""

    ceiling_nano: int
    window_ids: tuple[int, ...]


@dataclass
class Reservation:
    """One attempt's row of intent; its id becomes that of the ledger entry. Its fields are the row's columns."""

    id: UUID
    process_id: UUID
    request_id: str
    project_id: str
    user_id: str | None
    key_id: str
    operation: str
    upstream: str
    model: str
    streamed: bool
    price_id: str | None
    started_at: datetime
    ceiling_nano: Nano
    budget_window_ids: tuple[int, ...] = ()
    """The windows of budgets that hold `ceiling_nano` for it."""

    def grant(self, ceiling_nano: Nano, window_ids: tuple[int, ...]) -> Self:
        """Make it what is written, with what is held for it, and return it."""
        self.ceiling_nano, self.budget_window_ids = ceiling_nano, window_ids
        return self

    @property
    def payer(self) -> Payer:
        """Whom and what it is for."""
        return Payer(self.project_id, self.user_id, self.key_id, self.model)

    @property
    def hold(self) -> Hold:
        """What is held for it."""
        return Hold(self.ceiling_nano, self.budget_window_ids)


def settle(
    entries: Sequence[Entry], taken: Mapping[UUID, Hold], written: _Written, *, withholds_estimates: bool = True
) -> tuple[list[Entry], Moves]:
    """Return what the ledger must gain when *entries* settle, and what moves in the windows of budgets.

    *taken* are the reservations that were still open, and are deleted in the same transaction. For all others,
    *written* has the (ending, cost in nano-dollars, windows) of what the ledger says already:

    - nothing open, nothing written: the entry, flagged;
    - swept as orphaned: a correction by the difference;
    - anything else: nothing, as its commit was lost on the way back and this is the second try.
    """
    found = [_to_write(entry, taken, written) for entry in entries]
    to_write = [entry for entry in found if entry is not None]
    if withholds_estimates:
        to_write = [_marked(entry) if entry.ending == "estimated" else entry for entry in to_write]
    return to_write, moves_of(to_write, taken)


def _marked(entry: Entry) -> Entry:
    """Return an estimate with a flag if its budgets withhold what it may have cost beyond that."""
    if not entry.budget_window_ids or entry.price_id is None:
        return entry
    most_nano = 0 if CORRECTION in entry.flags else entry.ceiling_nano
    return entry._replace(flags=(*entry.flags, WITHHELD)) if entry.cost_nano < most_nano else entry


def _to_write(entry: Entry, taken: Mapping[UUID, Hold], written: _Written) -> Entry | None:
    hold = taken.get(entry.id)
    if hold is not None:
        window_ids = hold.window_ids
        return entry if entry.budget_window_ids == window_ids else entry._replace(budget_window_ids=window_ids)
    rows = written.get(entry.id)
    if not rows:
        return entry._replace(flags=(*entry.flags, UNRESERVED))
    if all(ending == "orphaned" for ending, _, _ in rows):
        charged = sum(cost for _, cost, _ in rows)
        return entry._replace(
            cost_nano=Nano(entry.cost_nano - charged),
            flags=(*entry.flags, CORRECTION),
            budget_window_ids=rows[0][2],
        )
    return None


def holds_of(reservations: Iterable[Reservation]) -> Moves:
    """Return what moves in the windows when *reservations* are made."""
    sums: _Sums = defaultdict(lambda: [0, 0, 0])
    for reservation in reservations:
        sums[reservation.budget_window_ids][0] += reservation.ceiling_nano
    return _spread(sums)


def moves_of(entries: Iterable[Entry], taken: Mapping[UUID, Hold]) -> Moves:
    """Return what moves in the windows: every hold in *taken* goes back, every cost in *entries* is spent.

    Of a call whose cost was estimated, the rest of its ceiling is withheld: it may have been billed all the same.
    """
    sums: _Sums = defaultdict(lambda: [0, 0, 0])
    for hold in taken.values():
        sums[hold.window_ids][0] -= hold.ceiling_nano
    for entry in entries:
        total = sums[entry.budget_window_ids]
        total[1] += entry.cost_nano
        if WITHHELD in entry.flags:
            total[2] += _withheld(entry)
    return _spread(sums)


def _withheld(entry: Entry) -> int:
    if CORRECTION in entry.flags:  # it gives back what the sweep charged beyond the estimate
        return max(0, -entry.cost_nano)
    return max(0, entry.ceiling_nano - entry.cost_nano)


def _spread(sums: _Sums) -> Moves:
    """Return what moves in each window, given what moves in those that calls count in together."""
    moves: Moves = {}
    for window_ids, total in sums.items():
        for window_id in window_ids:
            moves[window_id] = Move._make(map(add, moves.get(window_id, Move()), total))
    return moves


def orphaned(reservations: Iterable[Reservation], now: datetime) -> list[Entry]:
    """Return the entries of calls whose process died: nobody knows what they used, so they cost their ceilings."""
    return [
        Entry(
            id=reservation.id,
            settled_at=now,
            request_id=reservation.request_id,
            project_id=reservation.project_id,
            user_id=reservation.user_id,
            key_id=reservation.key_id,
            operation=reservation.operation,
            upstream=reservation.upstream,
            upstream_request_id=None,
            model=reservation.model,
            answered_model=None,
            service_tier=None,
            streamed=reservation.streamed,
            status=0,
            ending="orphaned",
            outcome="process_died",
            input_tokens=0,
            cached_input_tokens=0,
            cache_write_tokens=0,
            input_audio_tokens=0,
            output_tokens=0,
            reasoning_tokens=0,
            output_audio_tokens=0,
            other_units=None,
            cost_nano=reservation.ceiling_nano,
            ceiling_nano=reservation.ceiling_nano,
            price_id=reservation.price_id,
            flags=("orphaned",),
            started_at=reservation.started_at,
            first_byte_us=None,
            upstream_us=0,
            gateway_us=0,
            budget_window_ids=reservation.budget_window_ids,
        )
        for reservation in reservations
    ]
