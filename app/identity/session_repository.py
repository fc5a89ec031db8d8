"""Sessions and refresh tokens in PostgreSQL."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.identity.models import RefreshToken, Session, User
from app.identity.person import Person


class Use(NamedTuple):
    """A refresh token that somebody presents, with its session and its person."""

    person: Person
    used_at: datetime | None
    expires_at: datetime


async def create_session(tx: AsyncConnection, person: Person, now: datetime) -> None:
    """Insert a session of *person*."""
    columns = {"id": person.session_id, "user_id": person.user_id, "created_at": now, "expires_at": person.expires_at}
    await tx.execute(insert(Session).values(**columns))


async def find_person(tx: AsyncConnection, session_id: str) -> Person | None:
    """Return who signed in, unless the session was ended or the person was deleted."""
    query = (
        select(Session.id, User.id, User.email, User.role, Session.expires_at)
        .join(User)
        .where(Session.id == session_id, Session.ended_at.is_(None), User.disabled_at.is_(None))
    )
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else Person(*row)


async def create_refresh_token(tx: AsyncConnection, digest: bytes, session_id: str, expires_at: datetime) -> None:
    """Insert a refresh token."""
    values = {"digest": digest, "session_id": session_id, "expires_at": expires_at}
    await tx.execute(insert(RefreshToken).values(**values))


async def find_use(tx: AsyncConnection, digest: bytes) -> Use | None:
    """Return the refresh token with *digest*, unless its session was ended; nobody else gets it until this ends."""
    query = (
        select(
            Session.id,
            User.id,
            User.email,
            User.role,
            Session.expires_at,
            RefreshToken.used_at,
            RefreshToken.expires_at,
        )
        .select_from(RefreshToken)
        .join(Session)
        .join(User)
        .where(RefreshToken.digest == digest, Session.ended_at.is_(None), User.disabled_at.is_(None))
        .with_for_update(of=(RefreshToken, Session))
    )
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else Use(Person(*row[:5]), *row[5:])


async def mark_used(tx: AsyncConnection, digest: bytes, now: datetime) -> None:
    """Note that a refresh token was used."""
    await tx.execute(update(RefreshToken).where(RefreshToken.digest == digest).values(used_at=now))


async def end_sessions(
    tx: AsyncConnection, now: datetime, *, session_id: str | None = None, user_id: str | None = None, keep: str = ""
) -> int:
    """End one session, or all of a person but the one to *keep*; return how many that were."""
    is_meant = Session.id == session_id if session_id is not None else Session.user_id == user_id
    statement = update(Session).where(is_meant, Session.id != keep, Session.ended_at.is_(None))
    return len((await tx.execute(statement.values(ended_at=now).returning(Session.id))).all())


async def purge(tx: AsyncConnection, before: datetime) -> None:
    """Delete the sessions, and with them their refresh tokens, that ended or expired before that moment."""
    await tx.execute(delete(Session).where((Session.expires_at < before) | (Session.ended_at < before)))
