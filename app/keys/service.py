"""Keys: authenticate, mint, revoke. A known key is authenticated from memory, without any I/O."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from app.audit.service import record
from app.core.background import keep_doing
from app.core.clock import Clock, monotonic_seconds
from app.core.db import Database, Transaction
from app.core.group_commit import GroupCommit
from app.errors import InvalidRequest, NotFound, Unauthenticated
from app.key_errors import TooManyUnknownKeys
from app.keys import admin_repository, caller_repository, repository, tokens
from app.keys import service_account_repository as accounts
from app.keys.caller import Caller
from app.keys.caller_repository import Rehash
from app.keys.known import Digests, KnownCallers
from app.keys.networks import neighbourhood
from app.keys.peppers import Peppers
from app.keys.record import KeyFilter, KeyRecord, MintedKey, NewKey
from app.keys.tokens import KeyKind
from app.keys.unknown import UnknownKeys
from app.projects.service import ProjectService
from app.setting_groups import Keys as KeysSettings

KEYS_CHANGED: Final = repository.CHANNEL
"""The channel on which every process hears of changed keys; see `KeyService.forget`."""
_KEYS_PER_LOOKUP: Final = 100
# Keys never seen before wait for each other here, so that a client's are counted before many more of them get through.
_STRANGERS_AT_ONCE: Final = 4


class KeyService:
    """Who may call, by key."""

    def __init__(self, db: Database, projects: ProjectService, settings: KeysSettings, clock: Clock) -> None:
        self._db = db
        self._projects = projects
        self._peppers = Peppers.of(settings)
        self._pepper = self._peppers.current
        self._settings = settings
        self._clock = clock
        self._known = KnownCallers(settings.cache_entries_max)
        self._unknown = UnknownKeys(settings.unknown_keys_per_minute, settings.cache_entries_max)
        self._strangers = asyncio.Semaphore(_STRANGERS_AT_ONCE)
        self._lookups: GroupCommit[Digests, Caller | None] = GroupCommit(self._answer, batch_max=_KEYS_PER_LOOKUP)
        # Each key in use is due at two of these before it is not believed any more.
        self._renewal_seconds = settings.cache_seconds / 6
        self._used: set[str] = set()

    async def authenticate(self, token: str | None, address: str | None = None) -> Caller:
        """Return the caller behind *token*, sent from *address*.

        Raises Unauthenticated, the same for every reason, TooManyUnknownKeys, or DatabaseUnavailable when a key that is
        not in memory cannot be looked up: a valid key is never refused because the database is away.
        """
        if token is None or len(token) > tokens.TOKEN_CHARACTERS_MAX:
            raise Unauthenticated
        digest = tokens.digest(token, self._pepper)
        caller = self._known.believed(digest, monotonic_seconds()) or await self._look_up(token, digest, address)
        if caller.expires_at is not None and self._clock() >= caller.expires_at:
            raise Unauthenticated
        self._used.add(caller.key_id)
        return caller

    async def _look_up(self, token: str, digest: bytes, address: str | None) -> Caller:
        digests = tuple(self._peppers.digests(token))
        if self._known.has(digest):  # and too old to be believed
            caller = await self._lookups.submit(digests)
        elif not tokens.is_plausible(token):
            raise Unauthenticated
        else:
            client = neighbourhood(address)
            self._require_patience(digest, client)
            async with self._strangers:
                self._require_patience(digest, client)  # others of the same client may have been before
                caller = await self._lookups.submit(digests)
            if caller is None:
                self._unknown.add(digest, client, monotonic_seconds())
        if caller is None:
            raise Unauthenticated
        return caller

    def _require_patience(self, digest: bytes, client: str) -> None:
        """Raise Unauthenticated for a key that was unknown a moment ago, TooManyUnknownKeys after too many of them."""
        now = monotonic_seconds()
        if self._unknown.has(digest, now):
            raise Unauthenticated
        if (seconds := self._unknown.wait_seconds(client, now)) > 0:
            raise TooManyUnknownKeys(ceil(seconds))

    async def _answer(self, asked: Sequence[Digests]) -> list[Caller | None]:
        """Return whose keys these are, for calls that came at the same time; what one before them found is known."""
        now = monotonic_seconds()
        callers = {digests: self._known.believed(digests[0], now) for digests in asked}
        if missing := [digests for digests, caller in callers.items() if caller is None]:
            callers.update(await self._find(missing))
        return [callers[digests] for digests in asked]

    async def _find(self, asked: Sequence[Digests]) -> dict[Digests, Caller]:
        """Ask the database whose keys these are, and remember it; those under an old pepper come under the new one."""
        forgotten = self._known.forgotten
        until_seconds = monotonic_seconds() + self._settings.cache_seconds
        async with self._db.hot_connection() as connection:
            found = await caller_repository.find_callers(connection, asked, self._clock())
            moved = [
                Rehash(each.caller.key_id, each.digest, digests[0])
                for digests, each in found.items()
                if each.digest != digests[0]
            ]
            if moved:
                await caller_repository.rehash(connection, moved)
        for digests in asked:
            if digests not in found:
                self._known.drop(digests)
            elif forgotten == self._known.forgotten:  # or what we read may already be wrong
                self._known.put(digests, found[digests].caller, until_seconds)
        return {digests: each.caller for digests, each in found.items()}

    async def renew(self) -> None:
        """Look up the keys that are in use before they are not believed any more: together, and no call waits for it.

        Raises DatabaseUnavailable; then they are looked up when they are used.
        """
        due = self._known.take_due(monotonic_seconds() + 2 * self._renewal_seconds)
        for first in range(0, len(due), _KEYS_PER_LOOKUP):
            await self._find(due[first : first + _KEYS_PER_LOOKUP])

    async def keep_renewed(self) -> None:
        """Renew keys now and then, until cancelled."""
        await keep_doing(self.renew, self._renewal_seconds, failed="keys_not_renewed")

    def forget(self, key_id: str) -> None:
        """Believe nothing about one key any more, or about every key when *key_id* is empty."""
        self._forget(lambda caller: not key_id or caller.key_id == key_id)

    def forget_user(self, user_id: str) -> None:
        """Believe nothing any more about the keys of one person, or of everybody when *user_id* is empty."""
        self._forget(lambda caller: caller.user_id is not None if not user_id else caller.user_id == user_id)

    def forget_project(self, project_id: str) -> None:
        """Believe nothing any more about the keys of one project, or of all when *project_id* is empty."""
        self._forget(lambda caller: not project_id or caller.project_id == project_id)

    def _forget(self, concerns: Callable[[Caller], bool]) -> None:
        """Have keys looked up when they are next used. They stay known, so nobody's unknown keys keep them out."""
        self._unknown.clear()
        self._known.forget(concerns)

    def take_used(self) -> set[str]:
        """Return the ids of the keys that were used since this was last called."""
        used, self._used = self._used, set()
        return used

    def put_back_used(self, key_ids: set[str]) -> None:
        """Have `take_used` return these once more."""
        self._used |= key_ids

    async def create(
        self,
        kind: KeyKind,
        name: str,
        *,
        project_id: str | None = None,
        user_id: str | None = None,
        expires_in: timedelta | None = None,
    ) -> MintedKey:
        """Mint a key for a program, or for the person *user_id*, and return it; raises as `mint` does."""
        seconds = None if expires_in is None else int(expires_in.total_seconds())
        return await self.create_from(NewKey(kind, name, project_id, user_id, expires_in_seconds=seconds))

    async def create_from(self, new: NewKey) -> MintedKey:
        """Mint a key and return it: the only time it can be read. Raises as `mint` does."""
        async with self._db.transaction() as tx:
            return await self.mint(tx, new)

    async def create_first(
        self, project_id: str, *, admin: str | None, api: str | None
    ) -> tuple[MintedKey, MintedKey] | None:
        """Make the first admin key and the first API key, with the given values or minted ones.

        Returns None when there is any key already. Several processes may try at once; one does it.
        """
        async with self._db.transaction() as tx:
            if await repository.has_keys_exclusively(tx):
                return None
            return (
                await self.mint(tx, NewKey("admin", "First admin key"), admin),
                await self.mint(tx, NewKey("api", "First API key", project_id), api),
            )

    async def mint(self, tx: Transaction, new: NewKey, value: str | None = None) -> MintedKey:
        """Make a key with *value*, or a new random one, as a part of *tx*; it is in the audit log.

        Raises NotFound for an unknown project or service account, InvalidRequest where its calls would be refused.
        """
        if new.project_id is not None:
            await self._require_owner(tx, new.project_id, new)
        elif new.user_id is not None and not await repository.is_owner(tx, new.user_id):
            raise InvalidRequest(
                f"Invalid value for 'user_id': '{new.user_id}' is not an owner of the organization, so an admin key of "
                "theirs would not work.",
                param="user_id",
            )
        key = new.minted(value)
        now = self._clock()
        columns = new._asdict()
        seconds = columns.pop("expires_in_seconds")
        await repository.create_key(
            tx,
            **columns,
            id=key.id,
            digest=self._peppers.digest(key.value),
            redacted=tokens.redact(key.value),
            created_at=now,
            expires_at=None if seconds is None else now + timedelta(seconds=seconds),
        )
        details = {"data": {name: value for name, value in new._asdict().items() if value}}
        await record(tx, "api_key.created", key.id, project_id=new.project_id, details=details)
        return key

    async def _require_owner(self, tx: Transaction, project_id: str, new: NewKey) -> None:
        """Raise NotFound or InvalidRequest unless the owner of *new* may make calls in an open project."""
        await self._projects.require_open(tx, project_id)
        if not await self._projects.admits(tx, project_id, new.user_id):
            raise InvalidRequest(
                f"Invalid value for 'user_id': '{new.user_id}' is not a person who may make calls in this project.",
                param="user_id",
            )
        if new.service_account_id is None:
            return
        account = await accounts.find_account(tx, project_id, new.service_account_id, locks=True)
        if account is None:
            raise NotFound(f"There is no service account '{new.service_account_id}'.", param="service_account_id")
        if account.role == "none":
            raise InvalidRequest(
                "The service account has no role, so its keys could do nothing: give it the role 'member' first.",
                param="service_account_id",
            )

    async def list_all(self) -> list[KeyRecord]:
        """Return every key, oldest first."""
        async with self._db.transaction() as tx:
            return await admin_repository.list_all(tx)

    async def is_api_key(self, key_id: str) -> bool:
        """Tell whether there is an API key with this id, revoked or not."""
        async with self._db.transaction() as tx:
            return await repository.is_api_key(tx, key_id)

    def digest(self, value: str) -> bytes:
        """Return what a key with *value* is stored as."""
        return self._peppers.digest(value)

    async def revoke(self, key_id: str) -> datetime:
        """Revoke a key on every replica within a second, and return since when it is; raises NotFound."""
        async with self._db.transaction() as tx:
            revoked_at = await self.revoke_within(tx, key_id, KeyFilter(kind=None))
        self.forget(key_id)
        return revoked_at

    async def revoke_within(self, tx: Transaction, key_id: str, wanted: KeyFilter) -> datetime:
        """Revoke a key of the list that is *wanted* as a part of *tx*; revoking twice is harmless. Raises NotFound."""
        key = await admin_repository.find_key(tx, key_id, wanted, locks=True)
        if key is None:
            raise NotFound(f"There is no key '{key_id}'.", param="key_id")
        if key.revoked_at is not None:
            return key.revoked_at
        now = self._clock()
        await admin_repository.update_key(tx, key.id, {"revoked_at": now})
        await repository.notify(tx, key.id)
        await record(tx, "api_key.deleted", key.id, project_id=key.project_id)
        return now
