"""Idempotency keys in PostgreSQL; bare asyncpg, as claims and answers ride in the transactions of reservations."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import orjson

from app.core.db import HotConnection
from app.idempotency.key import Kept, KeyClaim, Placed, StoredAnswer

# The row and the reservation are written in one transaction, and so are the answer and the reservation's end. In the
# order of keys, so that no two claimants can wait for each other.
_CLAIM: Final = """
INSERT INTO idempotency_keys (key_id, key, fingerprint, reservation_id, request_id, expires_at)
SELECT key_id, key, fingerprint, reservation_id, request_id, now() + make_interval(secs => $6)
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::uuid[], $5::text[])
    AS new(key_id, key, fingerprint, reservation_id, request_id)
ORDER BY key_id, key ON CONFLICT (key_id, key) DO NOTHING RETURNING reservation_id
"""
# A key that is there can be claimed too when it has expired, or is free: its call has ended (its reservation is gone)
# and left no answer. The rows are locked by a statement of their own: only the next one is sure to see the
# reservations of those who had them before.
_LOCK: Final = """
SELECT FROM idempotency_keys WHERE (key_id, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))
ORDER BY key_id, key FOR UPDATE
"""
_CLAIM_FREE: Final = """
UPDATE idempotency_keys AS kept SET
    fingerprint = new.fingerprint, reservation_id = new.reservation_id, request_id = new.request_id,
    expires_at = now() + make_interval(secs => $6), status = NULL, headers = NULL, body = NULL
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::uuid[], $5::text[])
    AS new(key_id, key, fingerprint, reservation_id, request_id)
WHERE kept.key_id = new.key_id AND kept.key = new.key AND kept.reservation_id <> new.reservation_id
    AND (kept.expires_at < now() OR kept.status IS NULL)
    AND NOT EXISTS (SELECT FROM reservations WHERE id = kept.reservation_id)
RETURNING kept.reservation_id
"""
_STORE: Final = """
UPDATE idempotency_keys SET status = answer.status, headers = answer.headers, body = answer.body
FROM unnest($1::uuid[], $2::integer[], $3::jsonb[], $4::bytea[]) AS answer(reservation_id, status, headers, body)
WHERE idempotency_keys.reservation_id = answer.reservation_id
"""
_FIND: Final = """
SELECT fingerprint, request_id, EXISTS (SELECT FROM reservations WHERE id = reservation_id) AS is_running,
    status, headers::text, body
FROM idempotency_keys WHERE key_id = $1 AND key = $2 AND expires_at >= now()
"""
# A call may outlast its key; then the key stays until the call has ended.
_PURGE: Final = """
DELETE FROM idempotency_keys WHERE (key_id, key) IN (
    SELECT key_id, key FROM idempotency_keys
    WHERE expires_at < now() AND NOT EXISTS (SELECT FROM reservations WHERE id = reservation_id)
    LIMIT $1 FOR UPDATE SKIP LOCKED
) RETURNING 1
"""


async def claim(connection: HotConnection, placed: Sequence[Placed], lifetime_seconds: float) -> set[UUID]:
    """Claim the keys of *placed*, all different, and return the reservations of those that could be claimed."""
    values = _columns(placed)
    claimed = {row[0] for row in await connection.fetch(_CLAIM, *values, lifetime_seconds)}
    taken = [each for each in placed if each.reservation_id not in claimed]
    if taken:
        values = _columns(taken)
        await connection.execute(_LOCK, *values[:2])
        claimed |= {row[0] for row in await connection.fetch(_CLAIM_FREE, *values, lifetime_seconds)}
    return claimed


async def store(connection: HotConnection, answers: Mapping[UUID, StoredAnswer]) -> None:
    """Keep these answers, by the reservations of their calls."""
    await connection.execute(
        _STORE,
        list(answers),
        [answer.status for answer in answers.values()],
        [_headers_json(answer.headers) for answer in answers.values()],
        [answer.body for answer in answers.values()],
    )


async def find(connection: HotConnection, claim: KeyClaim) -> Kept | None:
    """Return what is known of a key that has not expired."""
    row = await connection.fetchrow(_FIND, claim.key_id, claim.key)
    if row is None:
        return None
    answer = None if row["status"] is None else StoredAnswer(row["status"], _headers(row["headers"]), row["body"])
    return Kept(row["fingerprint"], row["request_id"], row["is_running"], answer)


async def purge(connection: HotConnection, limit: int) -> int:
    """Delete up to *limit* keys that have expired, and return how many."""
    return len(await connection.fetch(_PURGE, limit))


def _columns(placed: Sequence[Placed]) -> list[list[Any]]:
    claims = [each.claim for each in placed]
    return [
        [claim.key_id for claim in claims],
        [claim.key for claim in claims],
        [claim.fingerprint for claim in claims],
        [each.reservation_id for each in placed],
        [each.request_id for each in placed],
    ]


def _headers_json(headers: Sequence[tuple[bytes, bytes]]) -> str:
    return orjson.dumps([[part.decode("latin-1") for part in header] for header in headers]).decode()


def _headers(document: str) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in orjson.loads(document)]
