"""Service accounts: programs in a project, each with any number of keys."""

from collections.abc import Mapping
from typing import Any

from app.audit.service import record
from app.core.clock import Clock
from app.core.db import Database, Transaction
from app.core.ids import new_id
from app.core.pagination import Page, Paging
from app.core.version_tags import require_meant
from app.errors import InvalidRequest, NotFound
from app.keys import admin_repository, repository
from app.keys import service_account_repository as accounts
from app.keys.record import AccountRecord, AccountRole, KeyRecord, NewKey
from app.keys.service import KeyService
from app.projects.service import ProjectService


class ServiceAccountService:
    """Every method raises NotFound for an unknown project or account, DatabaseUnavailable without PostgreSQL.

    What changes anything raises InvalidRequest for an archived project.
    """

    def __init__(self, db: Database, keys: KeyService, projects: ProjectService, clock: Clock) -> None:
        self._db = db
        self._keys = keys
        self._projects = projects
        self._clock = clock

    async def create(
        self, project_id: str, name: str, first_key: NewKey | None
    ) -> tuple[AccountRecord, tuple[KeyRecord, str] | None]:
        """Make a service account, with *first_key* a key of its own and its value, without it one that has no role."""
        role: AccountRole = "member" if first_key is not None else "none"
        account = AccountRecord(new_id("svc"), project_id, name, role, self._clock(), deleted_at=None)
        async with self._db.transaction() as tx:
            await self._projects.require_open(tx, project_id)
            await accounts.create_account(tx, account)
            key = None if first_key is None else await self._mint(tx, project_id, account.id, first_key)
            details = {"data": {"name": name, "role": account.role}}
            await record(tx, "service_account.created", account.id, project_id=project_id, details=details)
        return account, key

    async def create_key(self, project_id: str, account_id: str, new: NewKey) -> tuple[KeyRecord, str]:
        """Make one more key of a service account and return it with its value."""
        async with self._db.transaction() as tx:
            return await self._mint(tx, project_id, account_id, new)

    async def list_accounts(self, project_id: str, paging: Paging) -> Page[AccountRecord]:
        """Return a page of a project's service accounts; raises InvalidRequest for an unknown `after`.

        One that was deleted is a place in the list as before, for whoever deletes page by page.
        """
        async with self._db.transaction() as tx:
            await self._projects.require(tx, project_id)
            after = None if paging.after is None else (await accounts.find_many(tx, [paging.after])).get(paging.after)
            if paging.after is not None and (after is None or after.project_id != project_id):
                raise InvalidRequest("Invalid value for 'after': there is no such service account.", param="after")
            return Page.of(await accounts.list_accounts(tx, project_id, paging, after), paging.limit)

    async def exists(self, account_id: str) -> bool:
        """Tell whether any project has a service account with this id."""
        async with self._db.transaction() as tx:
            account = (await accounts.find_many(tx, [account_id])).get(account_id)
        return account is not None and account.deleted_at is None

    async def get(self, project_id: str, account_id: str) -> AccountRecord:
        """Return a service account."""
        async with self._db.transaction() as tx:
            await self._projects.require(tx, project_id)
            return await self._get(tx, project_id, account_id)

    async def update(
        self, project_id: str, account_id: str, columns: Mapping[str, Any], if_match: str | None = None
    ) -> AccountRecord:
        """Set name, role or both; raises PreconditionFailed."""
        async with self._db.transaction() as tx:
            await self._projects.require_open(tx, project_id)
            account = await self._get(tx, project_id, account_id, locks=True)
            require_meant(if_match, account)
            changed = {name: value for name, value in columns.items() if getattr(account, name) != value}
            if not changed:
                return account
            account = await accounts.update_account(tx, account_id, changed)
            details = {"changes_requested": changed}
            await record(tx, "service_account.updated", account_id, project_id=project_id, details=details)
        return account

    async def delete(self, project_id: str, account_id: str, if_match: str | None = None) -> None:
        """End a service account: its keys are revoked, on every replica within a second. Raises PreconditionFailed."""
        now = self._clock()
        async with self._db.transaction() as tx:
            await self._projects.require(tx, project_id)
            require_meant(if_match, await self._get(tx, project_id, account_id, locks=True))
            revoked = await admin_repository.revoke_of_account(tx, account_id, now)
            await accounts.delete_account(tx, account_id, now)
            for key in revoked:
                await repository.notify(tx, key.id)
                await record(tx, "api_key.deleted", key.id, project_id=project_id)
            await record(tx, "service_account.deleted", account_id, project_id=project_id)
        for key in revoked:
            self._keys.forget(key.id)

    async def _mint(self, tx: Transaction, project_id: str, account_id: str, new: NewKey) -> tuple[KeyRecord, str]:
        owned = new._replace(project_id=project_id, service_account_id=account_id)
        key = await self._keys.mint(tx, owned)
        return await admin_repository.get_key(tx, key.id), key.value

    async def _get(self, tx: Transaction, project_id: str, account_id: str, *, locks: bool = False) -> AccountRecord:
        account = await accounts.find_account(tx, project_id, account_id, locks=locks)
        if account is None:
            raise NotFound(f"There is no service account '{account_id}'.", param="service_account_id")
        return account
