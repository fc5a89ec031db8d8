"""One call as the simulator's account knows it: what arrived, what was answered, how it ended.

A record never holds a credential: only a digest of it, to tell two apart.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

BODY_BYTES_MAX: Final = 64 * 1024
_CREDENTIALS: Final = frozenset({b"authorization", b"api-key", b"x-api-key", b"cookie"})


class Ending(StrEnum):
    """How a call ended; exactly one for each call."""

    FINISHED = "finished"
    """The whole answer was handed to the socket."""
    CUT = "cut"
    """The simulator ended a begun answer early: dropped, no [DONE], an error event, or it was shut down."""
    CLIENT_LEFT = "client_left"
    """The client closed the connection first, also during a scripted latency or hang."""
    REFUSED = "refused"
    """The answer was an error status: nothing was generated."""
    HUNG = "hung"
    """A scripted hang outlasted the client's patience limit, and the simulator dropped the connection."""


@dataclass(slots=True)
class Arrival:
    """What arrived: the headers, credentials only as `sha256:` and 16 hex digits, and the body's first 64 KiB."""

    raw_headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    body_size_bytes: int = 0

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> "Arrival":
        """Return what is kept of *headers*, whose names are in lower case."""
        return cls([(name, _redacted(value) if name in _CREDENTIALS else value) for name, value in headers])

    def find(self, name: bytes) -> str | None:
        """Return the first value of the header *name*, or None."""
        return next((value.decode("latin-1") for key, value in self.raw_headers if key == name), None)

    def keep(self, beginning: bytes, size_bytes: int) -> None:
        """Remember the *beginning* of a body, and how long it is."""
        self.body = beginning
        self.body_size_bytes = size_bytes

    @property
    def headers(self) -> dict[str, str]:
        """The headers by lower-case name; values of one name are joined by commas (RFC 9110, section 5.3)."""
        headers: dict[str, str] = {}
        for raw_name, raw_value in self.raw_headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return headers


@dataclass(slots=True, eq=False)
class Call:
    """One call. Tokens are those of the usage it reports; `completion_tokens` counts what was generated so far."""

    sequence: int
    id: str
    """The `x-request-id` of the answer."""
    request_id: str | None
    """The `x-request-id` of the request."""
    method: str
    path: str
    arrival: Arrival | None
    arrived_at: int
    """In Unix seconds."""
    model: str | None = None
    stream: bool = False
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    completion_tokens_sent: int = 0
    """Visible tokens handed to the socket; those of a plain answer all at once, with its last byte."""
    bytes_sent: int = 0
    """Bytes of the answer's body handed to the socket, without headers and chunk framing."""
    images: int = 0
    """That were made."""
    characters: int = 0
    """Of text that was spoken."""
    audio_seconds: int = 0
    """Of sound that was written down, in started seconds."""
    status: int | None = None
    ending: Ending | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers; empty for a call that is not among the last 1,000."""
        return self.arrival.headers if self.arrival else {}

    @property
    def body(self) -> bytes:
        """The request's body, at most its first 64 KiB; empty for a call that is not among the last 1,000."""
        return self.arrival.body if self.arrival else b""

    def view(self) -> dict[str, Any]:
        """Return the record as JSON members; the body as text, bytes that are not UTF-8 replaced."""
        view: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__ if name != "arrival"}
        if self.arrival is not None:
            view["headers"] = self.arrival.headers
            view["body"] = self.arrival.body.decode("utf-8", "replace")
            view["body_size_bytes"] = self.arrival.body_size_bytes
        return view


@lru_cache(maxsize=256)
def _redacted(value: bytes) -> bytes:
    scheme, space, credential = value.rpartition(b" ")
    return scheme + space + b"sha256:" + hashlib.sha256(credential).hexdigest()[:16].encode()
