"""Keys in PostgreSQL."""

from datetime import datetime

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.keys.caller import Caller, KeyRow
from app.keys.models import ApiKey

CHANNEL = "weir_keys"
"""Notified with a key's id whenever that key changes."""


async def find_caller(tx: AsyncConnection, digest: bytes, now: datetime) -> Caller | None:
    """Return who the key with *digest* is, unless it is unknown, revoked or expired."""
    row = (
        await tx.execute(
            select(ApiKey.id, ApiKey.kind, ApiKey.project_id, ApiKey.expires_at, ApiKey.user_id).where(
                ApiKey.digest == digest,
                ApiKey.revoked_at.is_(None),
                ApiKey.expires_at.is_(None) | (ApiKey.expires_at > now),
            )
        )
    ).one_or_none()
    if row is None:
        return None
    return Caller(*row, organization_role="owner" if row.kind == "admin" else None)


async def create_key(tx: AsyncConnection, **columns: object) -> None:
    """Insert one key; raises IntegrityError when its digest exists."""
    await tx.execute(insert(ApiKey).values(**columns))


async def list_keys(tx: AsyncConnection) -> list[KeyRow]:
    """Return every key, oldest first."""
    columns = [getattr(ApiKey, name) for name in KeyRow._fields]
    return [KeyRow(*row) for row in await tx.execute(select(*columns).order_by(ApiKey.created_at, ApiKey.id))]


async def is_api_key(tx: AsyncConnection, key_id: str) -> bool:
    """Tell whether there is an API key with this id, revoked or not."""
    return await tx.scalar(select(ApiKey.id).where(ApiKey.id == key_id, ApiKey.kind == "api")) is not None


async def count_keys_exclusively(tx: AsyncConnection) -> int:
    """Return how many keys exist, revoked ones too; until the transaction ends nobody else gets an answer."""
    await tx.execute(text("SELECT pg_advisory_xact_lock(hashtext('weir.keys.first'))"))
    return await tx.scalar(select(func.count()).select_from(ApiKey)) or 0


async def revoke_key(tx: AsyncConnection, key_id: str, now: datetime) -> bool:
    """Revoke the key and tell every process; False when there is no such key."""
    revoked = await tx.scalar(
        update(ApiKey)
        .where(ApiKey.id == key_id)
        .values(revoked_at=func.coalesce(ApiKey.revoked_at, now))
        .returning(ApiKey.id)
    )
    await tx.execute(text("SELECT pg_notify(:channel, :key_id)"), {"channel": CHANNEL, "key_id": key_id})
    return revoked is not None
