"""Keys in PostgreSQL, for those who call with them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import and_, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.keys.caller import Caller
from app.keys.models import ApiKey, ServiceAccount
from app.keys.networks import read_network

CHANNEL: Final = "weir_keys"
"""Notified with a key's id whenever that key changes, and with "" when many do."""
_CALLER: Final = (
    ApiKey.id,
    ApiKey.kind,
    ApiKey.project_id,
    ApiKey.expires_at,
    ApiKey.user_id,
    ApiKey.service_account_id,
    ApiKey.scopes,
    ApiKey.models,
    ApiKey.networks,
    ApiKey.digest,
    ApiKey.previous_expires_at,
)


class Found(NamedTuple):
    """Whose key has a digest, and under which one it was found."""

    caller: Caller
    digest: bytes
    is_previous: bool
    """It is the value from before a rotation."""


async def find_caller(tx: AsyncConnection, digests: Sequence[bytes], now: datetime) -> Found | None:
    """Return whose key has one of *digests*, unless it is unknown, revoked or expired, or its account has no role.

    Whether its project and its person still let it call is for others to say.
    """
    was_rotated = and_(ApiKey.previous_digest.in_(digests), ApiKey.previous_expires_at > now)
    query = (
        select(*_CALLER, ApiKey.previous_digest)
        .outerjoin(ServiceAccount, ServiceAccount.id == ApiKey.service_account_id)
        .where(
            or_(ApiKey.digest.in_(digests), was_rotated),
            ApiKey.revoked_at.is_(None),
            ApiKey.expires_at.is_(None) | (ApiKey.expires_at > now),
            ApiKey.service_account_id.is_(None)
            | (ServiceAccount.deleted_at.is_(None) & (ServiceAccount.role != "none")),
        )
    )
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        return None
    is_previous = row.digest not in digests
    ends = [row.expires_at, row.previous_expires_at if is_previous else None]
    caller = Caller(
        key_id=row.id,
        kind=row.kind,
        project_id=row.project_id,
        expires_at=min((end for end in ends if end is not None), default=None),
        user_id=row.user_id,
        organization_role="owner" if row.kind == "admin" else None,
        service_account_id=row.service_account_id,
        scopes=frozenset(row.scopes),
        models=tuple(row.models),
        networks=tuple(read_network(network) for network in row.networks),
    )
    return Found(caller, row.previous_digest if is_previous else row.digest, is_previous)


async def rehash(tx: AsyncConnection, found: Found, digest: bytes) -> None:
    """Put *digest* in the place of the one under which a key was found."""
    column = ApiKey.previous_digest if found.is_previous else ApiKey.digest
    await tx.execute(
        update(ApiKey).where(ApiKey.id == found.caller.key_id, column == found.digest).values({column: digest})
    )


async def create_key(tx: AsyncConnection, **columns: object) -> None:
    """Insert one key; raises IntegrityError when its digest exists."""
    await tx.execute(insert(ApiKey).values(**columns))


async def is_api_key(tx: AsyncConnection, key_id: str) -> bool:
    """Tell whether there is an API key with this id, revoked or not."""
    return await tx.scalar(select(ApiKey.id).where(ApiKey.id == key_id, ApiKey.kind == "api")) is not None


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
