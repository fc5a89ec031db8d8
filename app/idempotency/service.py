"""The same `Idempotency-Key` and body give the same answer, and one charge, for a day.

A key is claimed in the transaction that reserves, and its answer is kept in the one that settles. A call that brought
no whole answer, because it was refused or broke, leaves its key free.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from app.core.background import delete_all, keep_purged
from app.core.db import Database, HotConnection
from app.idempotency import repository
from app.idempotency.key import Kept, KeyClaim, Placed, StoredAnswer
from app.money_errors import IdempotencyKeyInUse, IdempotencyKeyReused
from app.setting_groups import Idempotency as IdempotencySettings

_PURGE_SECONDS: Final = 600.0
_PURGE_ROWS: Final = 500


class IdempotencyService:
    """Keeps answers by idempotency key."""

    def __init__(self, db: Database, settings: IdempotencySettings) -> None:
        self._db = db
        self._settings = settings

    @property
    def answer_size_bytes_max(self) -> int:
        """The longest answer that is kept."""
        return self._settings.answer_size_bytes_max

    async def find(self, claim: KeyClaim) -> tuple[str, StoredAnswer] | None:
        """Return the request id and the answer of the call that was made under this key, None when there is none.

        Raises IdempotencyKeyReused when that was another request, IdempotencyKeyInUse while it is under way, and
        DatabaseUnavailable.
        """
        async with self._db.hot_connection() as connection:
            kept = await repository.find(connection, claim)
        if kept is None or (kept.answer is None and not kept.is_running):
            return None
        _require_same(kept, claim)
        if kept.answer is None:
            raise IdempotencyKeyInUse
        return kept.request_id, kept.answer

    async def claim(self, connection: HotConnection, placed: Sequence[Placed]) -> set[UUID]:
        """Return the reservations of those of *placed* whose keys were free, and are theirs from this commit on.

        Of several claims to the same key, the first one counts.
        """
        first: dict[tuple[str, str], Placed] = {}
        for each in placed:
            first.setdefault((each.claim.key_id, each.claim.key), each)
        if not first:
            return set()
        return await repository.claim(connection, list(first.values()), self._settings.lifetime_seconds)

    async def store(self, connection: HotConnection, answers: Mapping[UUID, StoredAnswer]) -> None:
        """Keep *answers*, by the reservations of their calls."""
        if answers:
            await repository.store(connection, answers)

    async def keep_purged(self) -> None:
        """Delete what has expired, now and every ten minutes, until cancelled."""
        await keep_purged(self.purge, _PURGE_SECONDS, failed="idempotency_keys_not_purged")

    async def purge(self) -> int:
        """Delete every key that has expired; return how many there were."""
        return await delete_all(self._db, repository.purge, _PURGE_ROWS)


def _require_same(kept: Kept, claim: KeyClaim) -> None:
    if kept.fingerprint != claim.fingerprint:
        raise IdempotencyKeyReused
