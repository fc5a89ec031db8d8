"""Invites in PostgreSQL."""

from datetime import datetime
from typing import Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.orm import paged
from app.core.pagination import Paging
from app.identity.invite import InviteRecord
from app.identity.models import Invite

_INVITE: Final = [getattr(Invite, name) for name in InviteRecord._fields]


async def create_invite(tx: AsyncConnection, record: InviteRecord, digest: bytes) -> None:
    """Insert an invite."""
    await tx.execute(insert(Invite).values(**record._asdict(), digest=digest))


async def find_invite(tx: AsyncConnection, invite_id: str, *, lock: bool = False) -> InviteRecord | None:
    """Return an invite; with *lock*, nobody else changes it until the transaction ends."""
    query = select(*_INVITE).where(Invite.id == invite_id)
    row = (await tx.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else InviteRecord(*row)


async def find_invite_by_digest(tx: AsyncConnection, digest: bytes) -> InviteRecord | None:
    """Return the invite whose token has this digest; nobody else changes it until the transaction ends."""
    row = (await tx.execute(select(*_INVITE).where(Invite.digest == digest).with_for_update())).one_or_none()
    return None if row is None else InviteRecord(*row)


async def mark_accepted(tx: AsyncConnection, invite_id: str, user_id: str, now: datetime) -> None:
    """Note whom an invite has made a person."""
    await tx.execute(update(Invite).where(Invite.id == invite_id).values(accepted_at=now, user_id=user_id))


async def delete_invite(tx: AsyncConnection, invite_id: str) -> None:
    """Delete an invite."""
    await tx.execute(delete(Invite).where(Invite.id == invite_id))


async def delete_pending(tx: AsyncConnection, email: str) -> list[str]:
    """Delete the invites of an address that nobody accepted, and return their ids."""
    found = delete(Invite).where(Invite.email == email, Invite.accepted_at.is_(None))
    return list(await tx.scalars(found.returning(Invite.id)))


async def list_invites(tx: AsyncConnection, paging: Paging, after: InviteRecord | None) -> list[InviteRecord]:
    """Return invites in the order of their making, behind *after*; one more than the limit."""
    place = None if after is None else (after.created_at, after.id)
    found = paged(select(*_INVITE), (Invite.created_at, Invite.id), place, paging)
    return [InviteRecord(*row) for row in await tx.execute(found)]
