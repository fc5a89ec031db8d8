"""People in PostgreSQL. Those who were deleted are in no answer, unless it says so."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import false, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.orm import paged
from app.core.pagination import Paging
from app.identity.models import User
from app.identity.person import UserRecord
from app.identity.roles import Role

CHANNEL: Final = "weir_people"
"""Notified with a person's id, or that of a session, when what is remembered of it is not so any more."""

_USER: Final = [getattr(User, name) for name in UserRecord._fields]
_IS_ACTIVE: Final = User.disabled_at.is_(None)


class KnownUser(NamedTuple):
    """A person whom an identity provider vouches for, as far as Weir knows them."""

    id: str
    email: str
    role: Role
    claimed_at: datetime | None
    signed_out_at: datetime | None
    disabled_at: datetime | None
    is_linked: bool


async def create_user(tx: AsyncConnection, **columns: object) -> bool:
    """Insert a person; False when the e-mail address, or issuer and subject, are somebody's already."""
    statement = insert(User).values(**columns).on_conflict_do_nothing().returning(User.id)
    return await tx.scalar(statement) is not None


async def find_user(tx: AsyncConnection, user_id: str, *, lock: bool = False) -> UserRecord | None:
    """Return a person; with *lock*, nobody else changes it until the transaction ends."""
    query = select(*_USER).where(User.id == user_id, _IS_ACTIVE)
    row = (await tx.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else UserRecord(*row)


async def find_place(tx: AsyncConnection, user_id: str) -> UserRecord | None:
    """Return a person as a place in the list of people, which one who was deleted is as before."""
    row = (await tx.execute(select(*_USER).where(User.id == user_id))).one_or_none()
    return None if row is None else UserRecord(*row)


async def find_user_by_email(tx: AsyncConnection, email: str) -> UserRecord | None:
    """Return the person with this e-mail address."""
    row = (await tx.execute(select(*_USER).where(User.email == email, _IS_ACTIVE))).one_or_none()
    return None if row is None else UserRecord(*row)


async def find_known(tx: AsyncConnection, issuer: str, subject: str, email: str | None) -> KnownUser | None:
    """Return who that is: the one with this subject, else the one with this verified *email* and no subject yet.

    One who was deleted comes last, so that they are not made anew by signing in once more. Nobody else changes the
    person until the transaction ends.
    """
    has_subject = (User.issuer == issuer) & (User.subject == subject)
    is_linked = func.coalesce(has_subject, false())
    is_same = (User.email == email) & User.subject.is_(None) & _IS_ACTIVE
    columns = (User.id, User.email, User.role, User.claimed_at, User.signed_out_at, User.disabled_at)
    query = select(*columns, is_linked).where(has_subject | is_same)
    row = (await tx.execute(query.order_by(_IS_ACTIVE.desc(), is_linked.desc()).limit(1).with_for_update())).first()
    return None if row is None else KnownUser(*row)


async def was_deleted(tx: AsyncConnection, email: str) -> bool:
    """Whether somebody with this address was deleted whom no identity provider had vouched for."""
    query = select(User.id).where(User.email == email, User.subject.is_(None), User.disabled_at.is_not(None))
    return await tx.scalar(query.limit(1)) is not None


async def update_user(tx: AsyncConnection, user_id: str, **columns: object) -> None:
    """Change a person and tell every process."""
    await tx.execute(update(User).where(User.id == user_id).values(**columns, version=User.version + 1))
    await notify(tx, user_id)


async def notify(tx: AsyncConnection, subject_id: str) -> None:
    """Tell every process, once the transaction commits, to forget what it remembers of a person or a session."""
    await tx.execute(text("SELECT pg_notify(:channel, :id)"), {"channel": CHANNEL, "id": subject_id})


async def count_owners_exclusively(tx: AsyncConnection) -> int:
    """Return how many owners there are; until the transaction ends nobody else gets an answer."""
    await tx.execute(text("SELECT pg_advisory_xact_lock(hashtext('weir.owners'))"))
    query = select(func.count()).select_from(User).where(User.role == "owner", _IS_ACTIVE)
    return await tx.scalar(query) or 0


async def list_users(
    tx: AsyncConnection, emails: Sequence[str], paging: Paging, after: UserRecord | None
) -> list[UserRecord]:
    """Return people, oldest first unless wanted otherwise, behind *after*; one more than the limit.

    With *emails*, only those who have one of them.
    """
    query = select(*_USER).where(_IS_ACTIVE)
    if emails:
        query = query.where(User.email.in_(emails))
    place = None if after is None else (after.created_at, after.id)
    return [UserRecord(*row) for row in await tx.execute(paged(query, (User.created_at, User.id), place, paging))]
