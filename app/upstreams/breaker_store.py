"""What processes tell each other about upstreams, in Redis. May be lost at any moment: then each knows what it sees."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from app.core.redis import Redis, Script

_EXCHANGE: Final = Script(Path(__file__).with_name("scripts").joinpath("exchange.lua").read_text("utf-8"))
BOARD: Final = "{weir}:upstreams"
"""Where the notes are; in one slot of a cluster with everything else."""
_NOTES_MAX: Final = 5_000
_TIMEOUT_SECONDS: Final = 1.0
"""No call waits for it."""


class Note(NamedTuple):
    """One thing that a process says; the last that was said by a name counts."""

    name: str
    stays_seconds: float
    ends_in_seconds: float
    """From now; 0 when what it says has no end."""
    text: str


class Heard(NamedTuple):
    """A note as others hear it."""

    name: str
    ends_in_seconds: float
    text: str


class BreakerStore:
    """The board that processes leave notes on."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def exchange(self, notes: Sequence[Note]) -> list[Heard]:
        """Leave *notes*, and return every note that is there, by anybody; raises RedisUnavailable."""
        arguments: list[str | int] = [_NOTES_MAX]
        for note in notes:
            arguments += (note.name, _milliseconds(note.stays_seconds), _milliseconds(note.ends_in_seconds), note.text)
        found = await self._redis.run(_EXCHANGE, [BOARD], arguments, _TIMEOUT_SECONDS)
        return [
            Heard(found[at].decode(), found[at + 1] / 1_000, found[at + 2].decode()) for at in range(0, len(found), 3)
        ]


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1_000))
