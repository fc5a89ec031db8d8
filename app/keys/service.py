"""Keys: mint, authenticate, list, revoke. A known key is authenticated from memory, without any I/O."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from app.core.clock import Clock, monotonic_seconds
from app.core.db import Database, Transaction
from app.core.ids import new_id
from app.errors import NotFound, Unauthenticated
from app.keys import repository, tokens
from app.keys.caller import Caller, KeyRow
from app.keys.tokens import KeyKind
from app.setting_groups import Keys as KeysSettings

KEYS_CHANGED: Final = repository.CHANNEL
"""The channel on which every process hears of changed keys; see `KeyService.forget`."""


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key; `value` is shown to its owner once and is not stored."""

    id: str
    value: str
    kind: KeyKind
    project_id: str | None
    user_id: str | None = None


class KeyService:
    """Who may call, by key."""

    def __init__(self, db: Database, pepper: bytes, settings: KeysSettings, clock: Clock) -> None:
        self._db = db
        self._pepper = pepper
        self._settings = settings
        self._clock = clock
        self._known: dict[bytes, tuple[Caller, float]] = {}
        self._forgotten = 0

    async def authenticate(self, token: str | None) -> Caller:
        """Return the caller behind *token*.

        Raises Unauthenticated, the same for every reason, or DatabaseUnavailable when a key that is not in memory
        cannot be looked up: a valid key is never refused because the database is away.
        """
        if token is None or not tokens.is_plausible(token):
            raise Unauthenticated
        digest = tokens.digest(token, self._pepper)
        known = self._known.get(digest)
        if known is not None and monotonic_seconds() < known[1]:
            caller = known[0]
            if caller.expires_at is None or self._clock() < caller.expires_at:
                return caller
            raise Unauthenticated
        return await self._look_up(digest)

    async def _look_up(self, digest: bytes) -> Caller:
        self._known.pop(digest, None)
        forgotten = self._forgotten
        async with self._db.transaction() as tx:
            caller = await repository.find_caller(tx, digest, self._clock())
        if caller is None:
            raise Unauthenticated
        if forgotten != self._forgotten:  # changed while we were reading: what we read may already be wrong
            return caller
        if len(self._known) >= self._settings.cache_entries_max:
            del self._known[next(iter(self._known))]
        self._known[digest] = (caller, monotonic_seconds() + self._settings.cache_seconds)
        return caller

    def forget(self, key_id: str) -> None:
        """Forget one key, or every key when *key_id* is empty; they are looked up again when next used."""
        self._forgotten += 1
        if not key_id:
            self._known.clear()
            return
        for digest, (caller, _) in list(self._known.items()):
            if caller.key_id == key_id:
                del self._known[digest]

    async def create(
        self,
        kind: KeyKind,
        name: str,
        *,
        project_id: str | None = None,
        user_id: str | None = None,
        expires_in: timedelta | None = None,
    ) -> MintedKey:
        """Mint a key for a program, or for the person *user_id*, and return it: the only time it can be read."""
        expires_at = None if expires_in is None else self._clock() + expires_in
        async with self._db.transaction() as tx:
            return await self._create(tx, replace(_new(kind, project_id, None), user_id=user_id), name, expires_at)

    async def create_first(
        self, project_id: str, *, admin: str | None, api: str | None
    ) -> tuple[MintedKey, MintedKey] | None:
        """Make the first admin key and the first API key, with the given values or minted ones.

        Returns None when there is any key already. Several processes may try at once; one does it.
        """
        async with self._db.transaction() as tx:
            if await repository.count_keys_exclusively(tx) > 0:
                return None
            return (
                await self._create(tx, _new("admin", None, admin), "First admin key", None),
                await self._create(tx, _new("api", project_id, api), "First API key", None),
            )

    async def _create(self, tx: Transaction, key: MintedKey, name: str, expires_at: datetime | None) -> MintedKey:
        await repository.create_key(
            tx,
            id=key.id,
            kind=key.kind,
            project_id=key.project_id,
            user_id=key.user_id,
            name=name,
            digest=tokens.digest(key.value, self._pepper),
            redacted=tokens.redact(key.value),
            created_at=self._clock(),
            expires_at=expires_at,
        )
        return key

    async def list_all(self) -> list[KeyRow]:
        """Return every key, oldest first."""
        async with self._db.transaction() as tx:
            return await repository.list_keys(tx)

    async def is_api_key(self, key_id: str) -> bool:
        """Tell whether there is an API key with this id, revoked or not."""
        async with self._db.transaction() as tx:
            return await repository.is_api_key(tx, key_id)

    async def revoke(self, key_id: str) -> datetime:
        """Revoke a key on every replica within a second; revoking twice is harmless. Raises NotFound."""
        now = self._clock()
        async with self._db.transaction() as tx:
            is_known = await repository.revoke_key(tx, key_id, now)
        if not is_known:
            raise NotFound(f"There is no key '{key_id}'.", param="key_id")
        self.forget(key_id)
        return now


def _new(kind: KeyKind, project_id: str | None, value: str | None) -> MintedKey:
    return MintedKey(id=new_id("key"), value=value or tokens.mint(kind), kind=kind, project_id=project_id)
