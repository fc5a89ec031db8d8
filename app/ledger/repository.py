"""The ledger in PostgreSQL: rows are only ever added."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlalchemy import BigInteger, all_, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.ledger import statement
from app.ledger.entries import Entry
from app.ledger.models import LedgerEntry
from app.ledger.receipt_query import ID_SLACK, first_id

_INSERT: Final = f"""
WITH entries AS MATERIALIZED ({statement.ROWS}), marks AS ({statement.MARK % "true"})
{statement.INSERT % "true"}
"""


async def insert_entries(connection: "asyncpg.Connection[asyncpg.Record]", entries: Sequence[Entry]) -> None:
    """Append *entries* in one commit, and mark their minutes; those that are there already are skipped."""
    await connection.execute(_INSERT, statement.rows_of(entries))


async def find_written(
    connection: "asyncpg.Connection[asyncpg.Record]", ids: Sequence[UUID]
) -> dict[UUID, list[tuple[str, int, tuple[int, ...]]]]:
    """Return the endings, costs and windows of the entries with *ids*, in every partition."""
    found: dict[UUID, list[tuple[str, int, tuple[int, ...]]]] = {}
    query = "SELECT id, ending, cost_nano, budget_window_ids FROM ledger_entries WHERE id = ANY($1)"
    for row in await connection.fetch(query, ids):
        found.setdefault(row[0], []).append((row[1], row[2], tuple(row[3])))
    return found


async def find_orphaned(connection: "asyncpg.Connection[asyncpg.Record]", ids: Sequence[UUID]) -> list[Entry]:
    """Return the entries with *ids* that a sweep wrote, in every partition."""
    query = f"SELECT {', '.join(Entry._fields)} FROM ledger_entries WHERE id = ANY($1) AND ending = 'orphaned'"  # noqa: S608 - names of columns
    return [_entry(row.values()) for row in await connection.fetch(query, ids)]


async def find_entries(
    tx: AsyncConnection, request_id: str, project_ids: Sequence[str] | None, attempts_max: int
) -> tuple[list[Entry], int]:
    """Return all entries of the newest attempts of one request, newest first, and what all of its entries cost.

    Only of *project_ids* unless that is None.
    """
    of_request = [LedgerEntry.request_id == request_id]
    if project_ids is not None:
        of_request.append(LedgerEntry.project_id.in_(project_ids))
    attempts = select(
        LedgerEntry.id,
        func.max(LedgerEntry.settled_at).label("ended_at"),
        func.sum(func.sum(LedgerEntry.cost_nano)).over().label("cost_nano"),
    )
    newest = attempts.where(*of_request).group_by(LedgerEntry.id).order_by(text("ended_at DESC")).limit(attempts_max)
    found = newest.subquery()
    columns = [getattr(LedgerEntry, name) for name in Entry._fields]
    query = select(*columns, found.c.cost_nano.label("call_cost_nano")).join(found, found.c.id == LedgerEntry.id)
    rows = (await tx.execute(query.where(*of_request).order_by(LedgerEntry.settled_at.desc()))).all()
    return [_entry(row[:-1]) for row in rows], int(rows[0].call_cost_nano) if rows else 0


async def allow_long_read(tx: AsyncConnection) -> None:
    """Let statements of this transaction take as long as reading the entries of whole days may."""
    await tx.execute(text("SET LOCAL statement_timeout = '10min'"))


async def sum_cost_by_model(
    tx: AsyncConnection, since: datetime, *, payer: tuple[str, str] | None, without_window_id: int
) -> dict[str, int]:
    """Return what the calls begun since then cost, in nano-dollars by model: only those that are not in the window.

    *payer* is a column, such as `project_id`, and its value. A call settles after it begins: that prunes partitions.
    """
    query = select(LedgerEntry.model, func.sum(LedgerEntry.cost_nano)).where(
        LedgerEntry.settled_at >= since,
        LedgerEntry.started_at >= since,
        literal(without_window_id, BigInteger) != all_(LedgerEntry.budget_window_ids),
    )
    if payer is not None:
        # An id begins with the moment when its call began, and so do the indexes of payers after their names.
        query = query.where(getattr(LedgerEntry, payer[0]) == payer[1], LedgerEntry.id >= first_id(since - ID_SLACK))
    return {model: int(cost) for model, cost in await tx.execute(query.group_by(LedgerEntry.model))}


async def create_partitions(tx: AsyncConnection, first: datetime, months: int) -> None:
    """Make the partitions of *months* months from the month of *first* on, in UTC, where they are missing."""
    await tx.execute(text("SELECT pg_advisory_xact_lock(hashtext('weir.ledger.partitions'))"))
    for offset in range(months):
        begin, end = _month(first, offset), _month(first, offset + 1)
        await tx.execute(
            text(
                f"CREATE TABLE IF NOT EXISTS ledger_entries_y{begin:%Ym%m} PARTITION OF ledger_entries "
                f"FOR VALUES FROM ('{begin:%Y-%m-%d}') TO ('{end:%Y-%m-%d}')"
            )
        )


def lacks_partition(error: BaseException) -> bool:
    """Tell whether *error* is that there is no partition for an entry."""
    return isinstance(error, asyncpg.CheckViolationError) and "no partition" in str(error)


def _month(moment: datetime, offset: int) -> datetime:
    """Return the first instant of the month *offset* months after that of *moment*, in UTC."""
    months = moment.year * 12 + moment.month - 1 + offset
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)


def _entry(values: Iterable[Any]) -> Entry:
    entry = Entry(*values)
    return entry._replace(flags=tuple(entry.flags), budget_window_ids=tuple(entry.budget_window_ids))
