"""Limits in PostgreSQL."""

from collections.abc import AsyncIterator
from typing import Any, Final

from sqlalchemy import delete, func, insert, literal, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.orm import rows_of
from app.core.pagination import Paging
from app.limits.limit import Limit
from app.limits.models import LimitRow
from app.limits.record import LimitFilter, LimitRecord, NewLimit, Sort

CHANNEL: Final = "weir_limits"
"""Notified whenever a limit is made, changed or deleted."""
_RECORD: Final = [getattr(LimitRow, name) for name in LimitRecord._fields]


async def read_all(tx: AsyncConnection) -> AsyncIterator[Limit]:
    """Yield every limit, oldest first; calls go on in between, however many there are."""
    async for row in rows_of(tx, select(*_RECORD).order_by(LimitRow.created_at, LimitRow.id)):
        yield LimitRecord(*row).limit


async def list_limits(
    tx: AsyncConnection, wanted: LimitFilter, sort: Sort, paging: Paging, after: LimitRecord | None
) -> list[LimitRecord]:
    """Return the limits that are *wanted*, those behind *after* in the order of *sort*; one more than the limit."""
    query = select(*_RECORD)
    for name, value in wanted._asdict().items():
        if value is not None:
            query = query.where(getattr(LimitRow, name) == value)
    keys = [getattr(LimitRow, sort), LimitRow.id]
    is_ascending = paging.order == "asc"
    if after is not None:
        here, there = tuple_(*keys), tuple_(literal(getattr(after, sort)), literal(after.id))
        query = query.where(here > there if is_ascending else here < there)
    ordered = query.order_by(*(key.asc() if is_ascending else key.desc() for key in keys))
    return [LimitRecord(*row) for row in await tx.execute(ordered.limit(paging.limit + 1))]


async def list_of_project(tx: AsyncConnection, project_id: str) -> list[LimitRecord]:
    """Return the limits of one project."""
    query = select(*_RECORD).where(LimitRow.scope == "project", LimitRow.scope_id == project_id)
    return [LimitRecord(*row) for row in await tx.execute(query.order_by(LimitRow.created_at, LimitRow.id))]


async def list_for_project(tx: AsyncConnection, project_id: str) -> list[LimitRecord]:
    """Return the limits of one project, and those for each project."""
    is_its = (LimitRow.scope_id == project_id) | LimitRow.scope_id.is_(None)
    query = select(*_RECORD).where(LimitRow.scope == "project", is_its)
    return [LimitRecord(*row) for row in await tx.execute(query.order_by(LimitRow.created_at, LimitRow.id))]


async def find_limit(tx: AsyncConnection, limit_id: str, *, for_update: bool = False) -> LimitRecord | None:
    """Return one limit; nobody else changes it until the transaction ends if it is *for_update*."""
    query = select(*_RECORD).where(LimitRow.id == limit_id)
    row = (await tx.execute(query.with_for_update() if for_update else query)).one_or_none()
    return None if row is None else LimitRecord(*row)


async def count_in_scope(tx: AsyncConnection, scope: str, scope_id: str | None) -> int:
    """Return how many limits there are of this scope."""
    query = select(func.count()).where(LimitRow.scope == scope, LimitRow.scope_id == scope_id)
    return (await tx.execute(query)).scalar_one()


async def stop_changes(tx: AsyncConnection) -> None:
    """Let nobody else change limits until the transaction ends, and tell every process when it does."""
    statement = text("SELECT pg_advisory_xact_lock(hashtext('weir.limits')), pg_notify(:channel, '')")
    await tx.execute(statement, {"channel": CHANNEL})


async def create_limit(tx: AsyncConnection, limit_id: str, new: NewLimit) -> LimitRecord:
    """Insert a limit and return it."""
    statement = insert(LimitRow).values(id=limit_id, version=1, **new._asdict()).returning(*_RECORD)
    return LimitRecord(*(await tx.execute(statement)).one())


async def update_limit(tx: AsyncConnection, limit_id: str, columns: dict[str, Any]) -> LimitRecord:
    """Set *columns* of a limit, count its version up, and return it."""
    statement = update(LimitRow).where(LimitRow.id == limit_id)
    changed = statement.values(**columns, version=LimitRow.version + 1, updated_at=func.clock_timestamp())
    return LimitRecord(*(await tx.execute(changed.returning(*_RECORD))).one())


async def delete_limit(tx: AsyncConnection, limit_id: str) -> None:
    """Delete one limit."""
    await tx.execute(delete(LimitRow).where(LimitRow.id == limit_id))
