"""The callers that a process knows by their keys, each believed for a while without asking the database. Pure.

It is told what time it is, in seconds on any clock that goes on. What it remembers is bounded.
"""

from collections.abc import Callable
from typing import NamedTuple

from app.keys.caller import Caller

Digests = tuple[bytes, ...]
"""What a key may be stored as, one for each pepper: first that of the current one, by which the key is known here."""


class Known(NamedTuple):
    """A caller, and until when they are believed."""

    caller: Caller
    digests: Digests
    until_seconds: float


class KnownCallers:
    """Up to *entries_max* callers by the digests of their keys; of more the oldest go."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._known: dict[bytes, Known] = {}
        self._used: set[bytes] = set()
        self.forgotten = 0
        """How often something was forgotten: what was read from the database before the last time may be wrong."""

    def believed(self, digest: bytes, now: float) -> Caller | None:
        """Return whose key it is if that is believed now, and note that the key was used."""
        known = self._known.get(digest)
        if known is None or now >= known.until_seconds:
            return None
        self._used.add(digest)
        return known.caller

    def has(self, digest: bytes) -> bool:
        """Tell whether the key is known, if only by what is not believed any more."""
        return digest in self._known

    def put(self, digests: Digests, caller: Caller, until_seconds: float) -> None:
        """Remember whose key it is, as the newest; it counts as not used."""
        self.drop(digests)
        if len(self._known) >= self._entries_max:
            self.drop(next(iter(self._known.values())).digests)
        self._known[digests[0]] = Known(caller, digests, until_seconds)

    def drop(self, digests: Digests) -> None:
        """Do not know the key any more."""
        self._known.pop(digests[0], None)
        self._used.discard(digests[0])

    def forget(self, concerns: Callable[[Caller], bool]) -> None:
        """Believe nothing about the callers that *concerns* picks. Their keys stay known, to be looked up again."""
        self.forgotten += 1
        for digest, known in self._known.items():
            if concerns(known.caller):
                self._known[digest] = known._replace(until_seconds=0.0)

    def take_due(self, seconds: float) -> list[Digests]:
        """Return the keys that were used and are not believed after *seconds*; from now on they count as not used."""
        due = [known for digest in self._used if (known := self._known[digest]).until_seconds <= seconds]
        self._used.difference_update(known.digests[0] for known in due)
        return [known.digests for known in due]
