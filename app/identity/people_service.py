"""Who somebody is, for the features that know people by their ids."""

from collections.abc import Collection, Mapping

from app.core.db import Database
from app.identity import people_repository, repository
from app.identity.person import UserRecord, normalized_email


class PeopleService:
    """Finds people who were not deleted; raises DatabaseUnavailable when PostgreSQL is away or too busy."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find(self, user_id: str) -> UserRecord | None:
        """Return a person."""
        return (await self.find_many([user_id])).get(user_id)

    async def exists(self, user_id: str) -> bool:
        """Tell whether there is a person with this id."""
        return await self.find(user_id) is not None

    async def find_by_email(self, email: str) -> UserRecord | None:
        """Return the person with this e-mail address, however it is written."""
        try:
            normalized = normalized_email(email)
        except ValueError:
            return None
        async with self._db.transaction() as tx:
            return await repository.find_user_by_email(tx, normalized)

    async def find_many(self, user_ids: Collection[str]) -> Mapping[str, UserRecord]:
        """Return people by their ids, as far as there are any."""
        if not user_ids:
            return {}
        async with self._db.transaction() as tx:
            return await people_repository.find_many(tx, user_ids)
