"""The ledger in PostgreSQL: rows are only ever added."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy import BigInteger, all_, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.ledger.entries import Entry
from app.ledger.models import LedgerEntry

_ENTRIES_MAX: Final = 20
_COLUMNS: Final = ", ".join(Entry._fields)

# One statement for a whole batch, which travels as one JSON text: an array for each of thirty columns would take the
# gateway five times as long to write. An entry that is already there is left alone, so that a batch whose commit was
# not acknowledged can be sent again without charging anybody twice. The marks for the roll-up ride along; they are
# plain new rows, never merged with those that are there (`rollup_models.ledger_changes` says why).
_INSERT: Final = f"""
WITH marks AS (INSERT INTO ledger_changes (minute) SELECT unnest($2::timestamptz[]))
INSERT INTO ledger_entries ({_COLUMNS})
SELECT {_COLUMNS} FROM json_populate_recordset(NULL::ledger_entries, ($1::text)::json)
ON CONFLICT (id, settled_at) DO NOTHING
"""  # noqa: S608 - made of constants


async def insert_entries(connection: "asyncpg.Connection[asyncpg.Record]", entries: Sequence[Entry]) -> None:
    """Append *entries* in one commit, and mark their minutes; those that are there already are skipped."""
    minutes = {entry.settled_at.replace(second=0, microsecond=0) for entry in entries}
    rows = orjson.dumps([entry._asdict() for entry in entries], default=str).decode()  # asyncpg has UUIDs of its own
    await connection.execute(_INSERT, rows, sorted(minutes))


async def find_written(
    connection: "asyncpg.Connection[asyncpg.Record]", ids: Sequence[UUID]
) -> dict[UUID, list[tuple[str, int, tuple[int, ...]]]]:
    """Return the endings, costs and windows of the entries with *ids*, in every partition."""
    found: dict[UUID, list[tuple[str, int, tuple[int, ...]]]] = {}
    query = "SELECT id, ending, cost_nano, budget_window_ids FROM ledger_entries WHERE id = ANY($1)"
    for row in await connection.fetch(query, ids):
        found.setdefault(row[0], []).append((row[1], row[2], tuple(row[3])))
    return found


async def find_entries(tx: AsyncConnection, request_id: str, project_id: str | None) -> list[Entry]:
    """Return the newest entries of one request, newest first; only of *project_id* unless that is None."""
    columns = [getattr(LedgerEntry, name) for name in Entry._fields]
    query = select(*columns).where(LedgerEntry.request_id == request_id)
    if project_id is not None:
        query = query.where(LedgerEntry.project_id == project_id)
    newest = query.order_by(LedgerEntry.settled_at.desc()).limit(_ENTRIES_MAX)
    return [
        Entry(*row)._replace(flags=tuple(row.flags), budget_window_ids=tuple(row.budget_window_ids))
        for row in await tx.execute(newest)
    ]


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
        query = query.where(getattr(LedgerEntry, payer[0]) == payer[1])
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


def _month(moment: datetime, offset: int) -> datetime:
    """Return the first instant of the month *offset* months after that of *moment*, in UTC."""
    months = moment.year * 12 + moment.month - 1 + offset
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)
