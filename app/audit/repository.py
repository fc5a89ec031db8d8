"""The audit log in PostgreSQL."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, insert, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.entry import AuditQuery, AuditRecord
from app.audit.models import AuditEntry

_RECORD: Final = [getattr(AuditEntry, name) for name in AuditRecord._fields]
_USER_ID_PREFIX: Final = "user_"
_PLACE: Final = (AuditEntry.effective_at, AuditEntry.position)


class Place(NamedTuple):
    """Where an entry is in the log."""

    effective_at: datetime
    position: int


async def add_entry(tx: AsyncConnection, **columns: object) -> None:
    """Append one entry.

    Whoever appends waits until the transaction of whoever did so before has ended, so entries become visible in the
    order of their positions: nobody who read to the end of the log has missed one.
    """
    await tx.execute(insert(AuditEntry).values(**columns))


async def find_place(tx: AsyncConnection, entry_id: str) -> Place | None:
    """Return the place of an entry in the log."""
    row = (await tx.execute(select(*_PLACE).where(AuditEntry.id == entry_id))).one_or_none()
    return None if row is None else Place(*row)


async def list_entries(
    tx: AsyncConnection, query: AuditQuery, older_than: Place | None, newer_than: Place | None
) -> list[AuditRecord]:
    """Return the entries between the places, the newest first; one more than the limit.

    A page that is asked for backwards is read, and returned, the oldest first.
    """
    # The same order as that of positions, unless the clock was set back; but only an index by time finds a time.
    keys = _PLACE[1:] if query.since is None and query.until is None else _PLACE
    conditions = _conditions(query)
    if older_than is not None:
        conditions.append(tuple_(*keys) < tuple_(*map(literal, older_than[-len(keys) :])))
    if newer_than is not None:
        conditions.append(tuple_(*keys) > tuple_(*map(literal, newer_than[-len(keys) :])))
    order = keys if query.is_backwards else [key.desc() for key in keys]
    rows = await tx.execute(select(*_RECORD).where(*conditions).order_by(*order).limit(query.limit + 1))
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
    # Ids say what they are of. Of one column, if that can be, an index has the entries in their order.
    people = [actor_id for actor_id in query.actor_ids if actor_id.startswith(_USER_ID_PREFIX)]
    others = [actor_id for actor_id in query.actor_ids if not actor_id.startswith(_USER_ID_PREFIX)]
    of_actors = [column.in_(ids) for column, ids in ((entry.actor_user_id, people), (entry.actor_id, others)) if ids]
    if of_actors:
        conditions.append(or_(*of_actors))
    if query.since is not None:
        conditions.append(entry.effective_at >= query.since)
    if query.until is not None:
        conditions.append(entry.effective_at < query.until)
    return conditions
