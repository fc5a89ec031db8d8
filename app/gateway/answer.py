"""What comes in with a call beside its body, and what its caller gets: a body, or a generator of the pieces of one."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Inbound(NamedTuple):
    """How a call came in."""

    headers: Sequence[tuple[bytes, bytes]]
    """As they came, names in lower case."""
    query: str = ""
    """As it came, without its question mark."""

    def values(self, name: bytes) -> list[str]:
        """Return the values of one header."""
        return [value.decode("latin-1") for key, value in self.headers if key == name]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer on its way to the caller; a generator in `body` must be started and closed by whoever sends it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes | AsyncGenerator[bytes, None]
