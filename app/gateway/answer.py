"""What comes in with a call beside its body, and what its caller gets: a body, or a generator of the pieces of one."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.core.header_fields import HeaderFields

_OF_ONE_CALL: Final = (b"content-length", b"server-timing", b"x-ratelimit-", b"x-weir-cost-usd")


@dataclass(slots=True)
class Inbound:
    """How a call came in."""

    headers: Sequence[tuple[bytes, bytes]]
    """As they came, names in lower case."""
    query: str = ""
    """As it came, without its question mark."""
    fields: HeaderFields = field(init=False)
    """The headers by name."""

    def __post_init__(self) -> None:
        self.fields = HeaderFields(self.headers)

    def target(self, path: str) -> str:
        """Return *path* with the query that the call came with."""
        return f"{path}?{self.query}" if self.query else path

    def values(self, name: str) -> list[str]:
        """Return every value of one header."""
        if self.fields.get(name) is None:
            return []
        raw_name = name.encode()
        return [value.decode("latin-1") for key, value in self.headers if key == raw_name]


def _never() -> bool:
    return False


@dataclass(slots=True)
class Answer:
    """An answer on its way to the caller; a generator in `body` must be started and closed by whoever sends it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes | AsyncGenerator[bytes, None]
    error_code: str | None = None
    """Of an answer that is an error."""
    has_ended: Callable[[], bool] = _never
    """Tells whether the piece that the generator has just yielded is the last, if that can be known by then."""


def lasting(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return those of an answer's headers that stay true when it is given again; others tell of one call."""
    return [header for header in headers if not header[0].startswith(_OF_ONE_CALL)]
