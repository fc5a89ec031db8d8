"""The audit log in PostgreSQL."""

from typing import Final

from sqlalchemy import ColumnElement, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.entry import AuditQuery, AuditRecord
from app.audit.models import AuditEntry

_RECORD: Final = [getattr(AuditEntry, name) for name in AuditRecord._fields]


async def add_entry(tx: AsyncConnection, **columns: object) -> None:
    """Append one entry.

    Whoever appends waits until the transaction of whoever did so before has ended, so entries become visible in the
    order of their positions: nobody who read to the end of the log has missed one.
    """
    await tx.execute(insert(AuditEntry).values(**columns))


async def find_position(tx: AsyncConnection, entry_id: str) -> int | None:
    """Return the place of an entry in the log."""
    return (await tx.execute(select(AuditEntry.position).where(AuditEntry.id == entry_id))).scalar_one_or_none()


async def list_entries(
    tx: AsyncConnection, query: AuditQuery, older_than: int | None, newer_than: int | None
) -> list[AuditRecord]:
    """Return the entries between the positions, the newest first; one more than the limit.

    A page that is asked for backwards is read, and returned, the oldest first.
    """
    position = AuditEntry.position
    conditions = _conditions(query)
    if older_than is not None:
        conditions.append(position < older_than)
    if newer_than is not None:
        conditions.append(position > newer_than)
    order = position if query.is_backwards else position.desc()
    rows = await tx.execute(select(*_RECORD).where(*conditions).order_by(order).limit(query.limit + 1))
    return [AuditRecord(*row) for row in rows]


def _conditions(query: AuditQuery) -> list[ColumnElement[bool]]:
    entry = AuditEntry
    conditions: list[ColumnElement[bool]] = [
        column.in_(values)
        for column, values in (
            (entry.event, query.events),
            (entry.project_id, query.project_ids),
            (entry.actor_email, query.actor_emails),
            (entry.resource_id, query.resource_ids),
        )
        if values
    ]
    if query.actor_ids:
        conditions.append(or_(entry.actor_id.in_(query.actor_ids), entry.actor_user_id.in_(query.actor_ids)))
    if query.since is not None:
        conditions.append(entry.effective_at >= query.since)
    if query.until is not None:
        conditions.append(entry.effective_at < query.until)
    return conditions
