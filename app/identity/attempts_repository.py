"""Attempts to sign in, in PostgreSQL: counted across all replicas, before a password is looked at."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import case, delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.identity.models import SignInAttempts


class Window(NamedTuple):
    """How often it was tried, this time included, in a window that ends then."""

    attempts: int
    ends_at: datetime


async def count_attempt(tx: AsyncConnection, digest: bytes, now: datetime, ends_at: datetime) -> Window:
    """Count one more attempt in its window; the first one after the end of a window opens another until *ends_at*."""
    new = insert(SignInAttempts).values(digest=digest, count=1, ends_at=ends_at)
    is_over = SignInAttempts.ends_at <= now
    counted = new.on_conflict_do_update(
        index_elements=[SignInAttempts.digest],
        set_={
            "count": case((is_over, 1), else_=SignInAttempts.count + 1),
            "ends_at": case((is_over, new.excluded.ends_at), else_=SignInAttempts.ends_at),
        },
    )
    row = (await tx.execute(counted.returning(SignInAttempts.count, SignInAttempts.ends_at))).one()
    return Window(*row)


async def forget_attempts(tx: AsyncConnection, digest: bytes) -> None:
    """Begin to count anew."""
    await tx.execute(delete(SignInAttempts).where(SignInAttempts.digest == digest))


async def forget_one_attempt(tx: AsyncConnection, digest: bytes) -> None:
    """Count one attempt less."""
    fewer = func.greatest(SignInAttempts.count - 1, 0)
    await tx.execute(update(SignInAttempts).where(SignInAttempts.digest == digest).values(count=fewer))


async def purge(tx: AsyncConnection, now: datetime) -> None:
    """Delete the windows that are over."""
    await tx.execute(delete(SignInAttempts).where(SignInAttempts.ends_at <= now))
