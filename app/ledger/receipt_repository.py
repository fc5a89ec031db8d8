"""Receipts in PostgreSQL, in the order in which their calls arrived, which is that of the entries' ids."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, any_, case, exists, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from app.core.money import Nano
from app.ledger.entries import Entry
from app.ledger.models import LedgerEntry
from app.ledger.receipt_query import ID_SLACK, ReceiptQuery, first_id

# And a call from its settlement, by the clocks of two processes: enough to leave out partitions.
_CLOCKS: Final = timedelta(days=1)
_SAME: Final = ("key_id", "user_id", "outcome", "ending")


async def find_receipts(tx: AsyncConnection, query: ReceiptQuery, after: UUID | None, limit: int) -> list[Entry]:
    """Return up to *limit* entries that are as *query* says and come after the attempt *after*.

    An attempt that was charged by a sweep and settled later has two entries, and one receipt: the correction, at what
    both add up to.
    """
    entry, other = LedgerEntry, aliased(LedgerEntry)
    of_attempt = select(func.sum(other.cost_nano)).where(other.id == entry.id).scalar_subquery()
    cost = case((_is_correction(entry.flags), of_attempt), else_=entry.cost_nano)
    corrected = exists().where(other.id == entry.id, _is_correction(other.flags))
    conditions = [~((entry.ending == "orphaned") & corrected), *_conditions(query)]
    if query.cost_nano_min is not None:
        # A correction takes away from what was charged: one that costs that much itself belongs to such an attempt.
        is_dear = entry.cost_nano >= query.cost_nano_min
        conditions.append(or_(is_dear, and_(_is_correction(entry.flags), of_attempt >= query.cost_nano_min)))
    if after is not None:
        conditions.append(entry.id < after if query.newest_first else entry.id > after)
    columns = [cost if name == "cost_nano" else getattr(entry, name) for name in Entry._fields]
    order = entry.id.desc() if query.newest_first else entry.id
    rows = await tx.execute(select(*columns).where(*conditions).order_by(order).limit(limit))
    return [_entry(row) for row in rows]


async def find_attempts(tx: AsyncConnection, request_id: str, project_ids: Sequence[str] | None) -> Sequence[UUID]:
    """Return the ids of up to two attempts of one request; only of *project_ids* unless that is None."""
    query = select(LedgerEntry.id).distinct().where(LedgerEntry.request_id == request_id).limit(2)
    if project_ids is not None:
        query = query.where(LedgerEntry.project_id.in_(project_ids))
    return (await tx.execute(query)).scalars().all()


def _conditions(query: ReceiptQuery) -> list[ColumnElement[bool]]:
    entry = LedgerEntry
    wanted = {name: getattr(query, name) for name in _SAME}
    conditions: list[ColumnElement[bool]] = [
        getattr(entry, name) == value for name, value in wanted.items() if value is not None
    ]
    if query.project_ids is not None:
        conditions.append(entry.project_id.in_(query.project_ids))
    if query.model is not None:
        conditions.append(or_(entry.model == query.model, entry.answered_model == query.model))
    # The index has ids only; the exact moments are on the rows.
    if query.created_after is not None:
        conditions += [entry.id >= first_id(query.created_after - ID_SLACK), entry.started_at >= query.created_after]
        conditions.append(entry.settled_at >= query.created_after - _CLOCKS)
    if query.created_before is not None:
        conditions += [entry.id < first_id(query.created_before + ID_SLACK), entry.started_at < query.created_before]
    return conditions


def _is_correction(flags: Any) -> ColumnElement[bool]:
    return literal("correction") == any_(flags)


def _entry(row: Any) -> Entry:
    entry = Entry(*row)
    return entry._replace(
        cost_nano=Nano(int(entry.cost_nano)), flags=tuple(entry.flags), budget_window_ids=tuple(entry.budget_window_ids)
    )
