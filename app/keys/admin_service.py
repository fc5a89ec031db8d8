"""Keys for those who manage them: list, change, rotate, revoke. Every replica heeds a change within a second."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from app.audit.service import record
from app.core.clock import Clock
from app.core.db import Database, Transaction
from app.core.pagination import Page, Paging
from app.core.version_tags import require_version
from app.errors import InvalidRequest, NotFound
from app.keys import admin_repository, repository, tokens
from app.keys.admin_repository import KeySort
from app.keys.caller import Caller
from app.keys.record import KeyFilter, KeyRecord, NewKey
from app.keys.rights import require_change
from app.keys.service import KeyService
from app.projects.service import ProjectService


class KeyEditor(NamedTuple):
    """Who wants to change a key, and which of its versions they know (RFC 9110, section 13.1.1, If-Match)."""

    caller: Caller | None = None
    """None where the table of routes has decided already."""
    if_match: str | None = None


class KeyAdminService:
    """Every method raises DatabaseUnavailable when PostgreSQL is away or too busy.

    A key outside of the list that is *wanted* is one that does not exist: NotFound.
    """

    def __init__(self, db: Database, keys: KeyService, projects: ProjectService, clock: Clock) -> None:
        self._db = db
        self._keys = keys
        self._projects = projects
        self._clock = clock

    async def list_keys(self, wanted: KeyFilter, sort: KeySort, paging: Paging) -> Page[KeyRecord]:
        """Return a page of keys; raises InvalidRequest for an `after` that is in no such list."""
        async with self._db.transaction() as tx:
            after = None if paging.after is None else await admin_repository.find_key(tx, paging.after, wanted)
            if paging.after is not None and after is None:
                raise InvalidRequest("Invalid value for 'after': there is no such key in this list.", param="after")
            return Page.of(await admin_repository.list_keys(tx, wanted, sort, paging, after), paging.limit)

    async def get(self, key_id: str, wanted: KeyFilter) -> KeyRecord:
        """Return a key."""
        async with self._db.transaction() as tx:
            return await self._get(tx, key_id, wanted)

    async def create(self, new: NewKey) -> tuple[KeyRecord, str]:
        """Make a key and return it with its value, which nobody can read again; raises as `KeyService.mint` does."""
        async with self._db.transaction() as tx:
            key = await self._keys.mint(tx, new)
            return await admin_repository.get_key(tx, key.id), key.value

    async def update(self, key_id: str, wanted: KeyFilter, columns: Mapping[str, Any], editor: KeyEditor) -> KeyRecord:
        """Set some of name, scopes, models, networks, expires_in_seconds, which counts from now on.

        Raises PreconditionFailed, Forbidden, and InvalidRequest for a key that does not work any more, or is in an
        archived project.
        """
        async with self._db.transaction() as tx:
            key = await self._get_for_change(tx, key_id, wanted, editor)
            changed = {name: value for name, value in columns.items() if getattr(key, name, self) != value}
            if not changed:
                return key
            details = {"changes_requested": dict(changed)}
            if "expires_in_seconds" in changed:
                seconds = changed.pop("expires_in_seconds")
                changed["expires_at"] = None if seconds is None else self._clock() + timedelta(seconds=seconds)
            key = await self._write(tx, key_id, changed)
            await record(tx, "api_key.updated", key_id, project_id=key.project_id, details=details)
        self._keys.forget(key_id)
        return key

    async def rotate(
        self, key_id: str, wanted: KeyFilter, grace_seconds: int, editor: KeyEditor
    ) -> tuple[KeyRecord, str]:
        """Give a key a new value and return it; the one before works for another *grace_seconds*.

        One from a rotation before that stops working at once. Raises as `update` does.
        """
        async with self._db.transaction() as tx:
            key = await self._get_for_change(tx, key_id, wanted, editor)
            value = tokens.mint(key.kind)
            ends_at = self._clock() + timedelta(seconds=grace_seconds)
            columns = {"digest": self._keys.digest(value), "redacted": tokens.redact(value)}
            before = await admin_repository.get_digest(tx, key_id)
            keeps = {"previous_digest": before, "previous_expires_at": ends_at}
            drops = {"previous_digest": None, "previous_expires_at": None}
            key = await self._write(tx, key_id, columns | (keeps if grace_seconds else drops))
            details = {"changes_requested": {"rotated": True, "grace_seconds": grace_seconds}}
            await record(tx, "api_key.updated", key_id, project_id=key.project_id, details=details)
        self._keys.forget(key_id)
        return key, value

    async def revoke(self, key_id: str, wanted: KeyFilter, editor: KeyEditor) -> datetime:
        """Revoke a key and return since when it is; raises PreconditionFailed, Forbidden."""
        async with self._db.transaction() as tx:
            _require(await self._get(tx, key_id, wanted, locks=True), editor)
            revoked_at = await self._keys.revoke_within(tx, key_id, wanted)
        self._keys.forget(key_id)
        return revoked_at

    async def _write(self, tx: Transaction, key_id: str, columns: Mapping[str, Any]) -> KeyRecord:
        key = await admin_repository.update_key(tx, key_id, dict(columns))
        await repository.notify(tx, key_id)
        return key

    async def _get(self, tx: Transaction, key_id: str, wanted: KeyFilter, *, locks: bool = False) -> KeyRecord:
        key = await admin_repository.find_key(tx, key_id, wanted, locks=locks)
        if key is None or (wanted.is_revoked is False and key.revoked_at is not None):
            raise NotFound(f"There is no key '{key_id}'.", param="key_id")
        return key

    async def _get_for_change(self, tx: Transaction, key_id: str, wanted: KeyFilter, editor: KeyEditor) -> KeyRecord:
        key = await self._get(tx, key_id, wanted, locks=True)
        _require(key, editor)
        if key.project_id is not None:
            await self._projects.require_open(tx, key.project_id)
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= self._clock()):
            raise InvalidRequest("The key does not work any more: make another one.", param="key_id")
        return key


def _require(key: KeyRecord, editor: KeyEditor) -> None:
    if editor.caller is not None:
        require_change(editor.caller, key)
    require_version(editor.if_match, key.version, "key")
