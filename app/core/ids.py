"""Identifiers: sortable UUIDs for rows, prefixed ones for people."""

import os
import re
import uuid
from typing import Final

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{7,127}")


def new_uuid7(unix_ms: int) -> uuid.UUID:
    """Return a UUID version 7 (RFC 9562, section 5.7) for the moment *unix_ms*, in milliseconds since 1970.

    Rows inserted in order of time stay together in an index, which random identifiers would spread all over it.
    """
    value = (unix_ms & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10))
    value &= ~(0xF << 76) & ~(0x3 << 62)
    return uuid.UUID(int=value | 0x7 << 76 | 0x2 << 62)


def new_id(prefix: str) -> str:
    """Return a random identifier such as `req_3f0c…`, with 128 random bits in lower-case hexadecimal."""
    return f"{prefix}_{os.urandom(16).hex()}"


def is_request_id(text: str) -> bool:
    """Tell whether *text* may be used as a request id: 8 to 128 letters, digits, dots, colons, dashes, underscores."""
    return _REQUEST_ID.fullmatch(text) is not None
