"""Keys in PostgreSQL: made, told of, and when they were used."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.keys.models import ApiKey

CHANNEL: Final = "weir_keys"
"""Notified with a key's id whenever that key changes, and with "" when many do."""


async def create_key(tx: AsyncConnection, **columns: object) -> None:
    """Insert one key; raises IntegrityError when its digest exists."""
    await tx.execute(insert(ApiKey).values(**columns))


async def is_api_key(tx: AsyncConnection, key_id: str) -> bool:
    """Tell whether there is an API key with this id, revoked or not."""
    return await tx.scalar(select(ApiKey.id).where(ApiKey.id == key_id, ApiKey.kind == "api")) is not None


async def is_owner(tx: AsyncConnection, user_id: str) -> bool:
    """Tell whether there is an owner of the organization with this id, as the lookup of a key asks it."""
    query = text("SELECT id FROM users WHERE id = :user_id AND role = 'owner' AND disabled_at IS NULL")
    return await tx.scalar(query, {"user_id": user_id}) is not None


async def has_keys_exclusively(tx: AsyncConnection) -> bool:
    """Tell whether any key exists, revoked or not; until the transaction ends nobody else gets an answer."""
    await tx.execute(text("SELECT pg_advisory_xact_lock(hashtext('weir.keys.first'))"))
    return await tx.scalar(select(ApiKey.id).limit(1)) is not None


async def notify(tx: AsyncConnection, key_id: str) -> None:
    """Tell every process, once the transaction commits, that a key, or with "" any number of them, changed."""
    await tx.execute(text("SELECT pg_notify(:channel, :key_id)"), {"channel": CHANNEL, "key_id": key_id})


async def set_used(tx: AsyncConnection, key_ids: Sequence[str], now: datetime) -> None:
    """Note that keys were used until *now*.

    A row that somebody else is writing is left out: two processes that note the same keys must never wait for each
    other in a circle, and what the other one writes is as new.
    """
    free = select(ApiKey.id).where(ApiKey.id.in_(key_ids)).with_for_update(skip_locked=True)
    await tx.execute(update(ApiKey).where(ApiKey.id.in_(free)).values(last_used_at=now))
