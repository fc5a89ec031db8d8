"""Keys in PostgreSQL, for those who manage them."""

from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, false, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.orm import paged
from app.core.pagination import Paging
from app.keys.models import ApiKey
from app.keys.record import KeyFilter, KeyRecord

KeySort = Literal["created_at", "name"]
_KEY: Final = [getattr(ApiKey, name) for name in KeyRecord._fields]


async def find_key(tx: AsyncConnection, key_id: str, wanted: KeyFilter, *, locks: bool = False) -> KeyRecord | None:
    """Return a key of the list that is *wanted*, revoked or not; *locks* keeps others from changing it."""
    query = select(*_KEY).where(ApiKey.id == key_id, *_belongs(wanted))
    row = (await tx.execute(query.with_for_update() if locks else query)).one_or_none()
    return None if row is None else KeyRecord(*row)


async def get_key(tx: AsyncConnection, key_id: str) -> KeyRecord:
    """Return a key that exists."""
    return KeyRecord(*(await tx.execute(select(*_KEY).where(ApiKey.id == key_id))).one())


async def list_keys(
    tx: AsyncConnection, wanted: KeyFilter, sort: KeySort, paging: Paging, after: KeyRecord | None
) -> list[KeyRecord]:
    """Return the keys that are *wanted* behind *after* in the order of *sort*; one more than the limit."""
    query = select(*_KEY).where(*_belongs(wanted))
    if wanted.owner_id is not None:
        query = query.where(or_(ApiKey.user_id == wanted.owner_id, ApiKey.service_account_id == wanted.owner_id))
    if wanted.has_access is not None:
        may_call = false() if wanted.callers is None else ApiKey.user_id.is_(None) | ApiKey.user_id.in_(wanted.callers)
        query = query.where(may_call if wanted.has_access else ~may_call)
    if wanted.is_revoked is not None:
        query = query.where(ApiKey.revoked_at.is_not(None) if wanted.is_revoked else ApiKey.revoked_at.is_(None))
    values = None if after is None else [getattr(after, sort), after.id]
    rows = await tx.execute(paged(query, [getattr(ApiKey, sort), ApiKey.id], values, paging))
    return [KeyRecord(*row) for row in rows]


async def list_all(tx: AsyncConnection) -> list[KeyRecord]:
    """Return every key, oldest first."""
    return [KeyRecord(*row) for row in await tx.execute(select(*_KEY).order_by(ApiKey.created_at, ApiKey.id))]


async def get_digest(tx: AsyncConnection, key_id: str) -> bytes:
    """Return what a key that exists is stored as."""
    digest: bytes = (await tx.execute(select(ApiKey.digest).where(ApiKey.id == key_id))).scalar_one()
    return digest


async def update_key(tx: AsyncConnection, key_id: str, columns: dict[str, Any]) -> KeyRecord:
    """Set *columns* of a key, count its version up, and return it."""
    statement = update(ApiKey).where(ApiKey.id == key_id).values(**columns, version=ApiKey.version + 1)
    return KeyRecord(*(await tx.execute(statement.returning(*_KEY))).one())


async def revoke_of_account(tx: AsyncConnection, account_id: str, now: datetime) -> list[KeyRecord]:
    """Revoke every key of a service account that is not revoked yet, and return them."""
    statement = (
        update(ApiKey)
        .where(ApiKey.service_account_id == account_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=now, version=ApiKey.version + 1)
    )
    return [KeyRecord(*row) for row in await tx.execute(statement.returning(*_KEY))]


def _belongs(wanted: KeyFilter) -> list[ColumnElement[bool]]:
    """Return what never changes about the keys of a list, so that a cursor of it stays one."""
    conditions: list[ColumnElement[bool]] = [] if wanted.kind is None else [ApiKey.kind == wanted.kind]
    if wanted.project_ids is not None:
        conditions.append(ApiKey.project_id.in_(wanted.project_ids))
    if wanted.seen_by is not None:
        user_id, project_ids = wanted.seen_by
        conditions.append(or_(ApiKey.user_id == user_id, ApiKey.project_id.in_(project_ids)))
    return conditions
