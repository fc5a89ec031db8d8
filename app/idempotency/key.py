"""An idempotency key, what it was used for, and the answer kept under it. Pure.

https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header
"""

import hashlib
from typing import Final, NamedTuple
from uuid import UUID

from app.errors import InvalidRequest

KEY_CHARACTERS_MAX: Final = 255


class KeyClaim(NamedTuple):
    """A caller's wish that this request is made once under *key*, whatever happens on the way."""

    key_id: str
    """The API key, or a person and the project that pays: two callers never share an idempotency key."""
    key: str
    fingerprint: bytes
    """SHA-256 of what is asked for."""


class StoredAnswer(NamedTuple):
    """A whole answer as the caller got it; a stream as the bytes of all its events."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Kept(NamedTuple):
    """What is known of an idempotency key."""

    fingerprint: bytes
    request_id: str
    is_running: bool
    """The reservation of its call is open."""
    answer: StoredAnswer | None


class Placed(NamedTuple):
    """A claim with the reservation and request that it belongs to."""

    reservation_id: UUID
    request_id: str
    claim: KeyClaim


def read_key(values: list[str], key_id: str, path: str, body: bytes) -> KeyClaim | None:
    """Return the claim of a request by the values of its `Idempotency-Key` header, None without one.

    Raises InvalidRequest for several, or for one that is empty, longer than 255 characters, or not printable.
    """
    if not values:
        return None
    if len(values) > 1 or not 0 < len(values[0]) <= KEY_CHARACTERS_MAX or not values[0].isprintable():
        raise InvalidRequest(
            f"The Idempotency-Key header must be one value of 1 to {KEY_CHARACTERS_MAX} printable characters.",
            param="Idempotency-Key",
        )
    return KeyClaim(key_id, values[0], hashlib.sha256(path.encode() + b"\0" + body).digest())
