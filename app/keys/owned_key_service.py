"""The keys of a project, and admin keys, with those who own them: as OpenAI's administration API shows them.

A revoked key does not exist there any more.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.core.db import Database
from app.core.pagination import Page, Paging
from app.identity.people_service import PeopleService
from app.keys import service_account_repository as accounts
from app.keys.admin_service import KeyAdminService, KeyEditor
from app.keys.record import AccountRecord, KeyFilter, KeyRecord, NewKey, OwnedKey
from app.projects.member_service import MemberService
from app.projects.service import ProjectService

_ADMIN: Final = KeyFilter(kind="admin", is_revoked=False)


class OwnedKeyService:
    """Every method raises NotFound for an unknown project or key, DatabaseUnavailable without PostgreSQL."""

    def __init__(
        self,
        db: Database,
        keys: KeyAdminService,
        projects: ProjectService,
        members: MemberService,
        people: PeopleService,
    ) -> None:
        self._db = db
        self._keys = keys
        self._projects = projects
        self._members = members
        self._people = people

    async def list_of_project(self, project_id: str, has_access: bool | None, paging: Paging) -> Page[OwnedKey]:
        """Return a page of a project's keys, or of those whose owners may, or may not, make calls in it."""
        callers = await self._members.find_callers(project_id)
        wanted = _of_project(project_id)._replace(has_access=has_access, callers=callers)
        page = await self._keys.list_keys(wanted, "created_at", paging)
        return Page(await self._with_owners(page.items, is_open=callers is not None), page.has_more)

    async def get_of_project(self, project_id: str, key_id: str) -> OwnedKey:
        """Return one key of a project."""
        project = await self._projects.get(project_id)
        key = await self._keys.get(key_id, _of_project(project_id))
        return (await self._with_owners([key], is_open=project.archived_at is None))[0]

    async def update_of_project(
        self, project_id: str, key_id: str, columns: Mapping[str, Any], if_match: str | None
    ) -> OwnedKey:
        """Set scopes, expiry or both; raises PreconditionFailed, and InvalidRequest for a key that does not work."""
        await self._projects.get(project_id)
        await self._keys.update(key_id, _of_project(project_id), columns, KeyEditor(if_match=if_match))
        return await self.get_of_project(project_id, key_id)

    async def revoke_of_project(self, project_id: str, key_id: str, if_match: str | None) -> None:
        """Revoke one key of a project; raises PreconditionFailed."""
        await self._projects.get(project_id)
        await self._keys.revoke(key_id, _of_project(project_id), KeyEditor(if_match=if_match))

    async def list_admin(self, paging: Paging) -> Page[OwnedKey]:
        """Return a page of the admin keys."""
        page = await self._keys.list_keys(_ADMIN, "created_at", paging)
        return Page(await self._with_owners(page.items), page.has_more)

    async def get_admin(self, key_id: str) -> OwnedKey:
        """Return one admin key."""
        return (await self._with_owners([await self._keys.get(key_id, _ADMIN)]))[0]

    async def create_admin(self, new: NewKey) -> tuple[OwnedKey, str]:
        """Make an admin key and return it with its value."""
        key, value = await self._keys.create(new)
        return (await self._with_owners([key]))[0], value

    async def revoke_admin(self, key_id: str, if_match: str | None) -> None:
        """Revoke one admin key; raises PreconditionFailed."""
        await self._keys.revoke(key_id, _ADMIN, KeyEditor(if_match=if_match))

    async def _with_owners(self, keys: Sequence[KeyRecord], *, is_open: bool = True) -> list[OwnedKey]:
        user_ids = {key.user_id for key in keys if key.user_id is not None}
        account_ids = {key.service_account_id for key in keys if key.service_account_id is not None}
        people = await self._people.find_many(user_ids)
        roles = {user_id: await self._members.roles_of(user_id) for user_id in user_ids}
        found: dict[str, AccountRecord] = {}
        if account_ids:
            async with self._db.transaction() as tx:
                found = await accounts.find_many(tx, account_ids)
        return [
            OwnedKey(
                key,
                people.get(key.user_id or ""),
                found.get(key.service_account_id or ""),
                roles.get(key.user_id or "", {}).get(key.project_id or ""),
                is_open,
            )
            for key in keys
        ]


def _of_project(project_id: str) -> KeyFilter:
    return KeyFilter(project_ids=(project_id,), is_revoked=False)
