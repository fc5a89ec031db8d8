"""What a caller gets: a body, or a generator of the pieces of one."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer on its way to the caller; a generator in `body` must be started and closed by whoever sends it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes | AsyncGenerator[bytes, None]
