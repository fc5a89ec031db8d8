"""What a key looks like: `wk-` (API) or `wa-` (admin), 12 public characters, 256 random bits, a checksum.

The checksum lets typing errors and secret scanners' finds be told apart from keys without asking the database.
"""

import hashlib
import hmac
import secrets
import string
import zlib
from functools import lru_cache
from typing import Final, Literal

KeyKind = Literal["api", "admin"]

PREFIXES: Final[dict[KeyKind, str]] = {"api": "wk-", "admin": "wa-"}
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PUBLIC_CHARACTERS: Final = 12
_SECRET_CHARACTERS: Final = 43  # 43 * log2(62) = 256 bits
_CHECKSUM_CHARACTERS: Final = 6
_LENGTH: Final = 3 + _PUBLIC_CHARACTERS + _SECRET_CHARACTERS + _CHECKSUM_CHARACTERS
TOKEN_CHARACTERS_MAX: Final = 512


def mint(kind: KeyKind) -> str:
    """Return a new random key of *kind*."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(_PUBLIC_CHARACTERS + _SECRET_CHARACTERS))
    body = PREFIXES[kind] + random
    return body + _checksum(body)


def is_plausible(token: str) -> bool:
    """Tell whether *token* can be a key at all; one that looks minted must have its right checksum."""
    if not 0 < len(token) <= TOKEN_CHARACTERS_MAX or not token.isascii() or not token.isprintable():
        return False
    if len(token) == _LENGTH and token.startswith(tuple(PREFIXES.values())):
        return hmac.compare_digest(_checksum(token[:-_CHECKSUM_CHARACTERS]), token[-_CHECKSUM_CHARACTERS:])
    return True


def digest(token: str, pepper: bytes) -> bytes:
    """Return the HMAC-SHA256 of *token* under *pepper*; keys have too much entropy to need a slow hash."""
    keyed = _keyed(pepper).copy()
    keyed.update(token.encode())
    return keyed.digest()


def redact(token: str) -> str:
    """Return what people may see of a key: its prefix, a few public characters, and its last two."""
    return f"{token[:7]}…{token[-2:]}"


@lru_cache(maxsize=16)
def _keyed(pepper: bytes) -> hmac.HMAC:
    """Return the HMAC of nothing yet; to go on from a copy takes a fraction of beginning anew."""
    return hmac.new(pepper, digestmod=hashlib.sha256)


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode())
    digits = []
    for _ in range(_CHECKSUM_CHARACTERS):
        value, digit = divmod(value, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
