"""People for other features, in PostgreSQL."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.identity.models import User
from app.identity.person import UserRecord

_USER: Final = [getattr(User, name) for name in UserRecord._fields]


async def find_many(tx: AsyncConnection, user_ids: Collection[str]) -> dict[str, UserRecord]:
    """Return the people with these ids, as far as there are any who were not deleted."""
    query = select(*_USER).where(User.id.in_(user_ids), User.disabled_at.is_(None))
    return {row.id: UserRecord(*row) for row in await tx.execute(query)}
