"""A reservation: what was promised for one attempt before anything was sent upstream, and how it can end. Pure.

It ends exactly once: settled, estimated or released by the process that made it, or orphaned by a sweep when that
process is dead. A settlement that comes after the sweep becomes a correction, never a second charge.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from app.core.money import Nano
from app.ledger.entries import Entry

_Written = Mapping[UUID, Sequence[tuple[str, int]]]

CORRECTION: Final = "correction"
"""Flag of the entry that a process which was taken for dead adds: the difference to what the sweep charged."""
UNRESERVED: Final = "unreserved"
"""Flag of an entry whose reservation is nowhere: somebody has deleted it by hand."""


class Reservation(NamedTuple):
    """One attempt's row of intent; its id becomes that of the ledger entry."""

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
    ceiling_nano: Nano
    price_id: str | None
    started_at: datetime
    budget_window_ids: tuple[int, ...] = ()
    """The windows of budgets that hold `ceiling_nano` for it."""


def entries_to_write(entries: Sequence[Entry], taken: AbstractSet[UUID], written: _Written) -> list[Entry]:
    """Return what the ledger must gain when *entries* settle.

    *taken* are the reservations that were still open, and are deleted in the same transaction. For all others,
    *written* has the (ending, cost in nano-dollars) of what the ledger says already:

    - nothing open, nothing written: the entry, flagged;
    - swept as orphaned: a correction by the difference;
    - anything else: nothing, as its commit was lost on the way back and this is the second try.
    """
    return [entry for entry in (_to_write(entry, taken, written) for entry in entries) if entry is not None]


def _to_write(entry: Entry, taken: AbstractSet[UUID], written: _Written) -> Entry | None:
    if entry.id in taken:
        return entry
    rows = written.get(entry.id, ())
    if not rows:
        return entry._replace(flags=(*entry.flags, UNRESERVED))
    if all(ending == "orphaned" for ending, _ in rows):
        charged = sum(cost for _, cost in rows)
        return entry._replace(cost_nano=Nano(entry.cost_nano - charged), flags=(*entry.flags, CORRECTION))
    return None


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
