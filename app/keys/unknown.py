"""Remembers keys that are unknown, and who sends many of them, so that neither costs the database anything. Pure.

It is told what time it is, in seconds on any clock that goes on. What it remembers is bounded.
"""

from typing import Final, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

_REMEMBERED_SECONDS: Final = 30.0
_WINDOW_SECONDS: Final = 60.0


class UnknownKeys:
    """Up to *entries_max* keys and as many addresses; *per_minute* unknown keys may come from each address."""

    def __init__(self, per_minute: int, entries_max: int) -> None:
        self._per_minute = per_minute
        self._entries_max = entries_max
        self._digests: dict[bytes, float] = {}
        self._addresses: dict[str, tuple[float, int]] = {}

    def has(self, digest: bytes, now: float) -> bool:
        """Tell whether this key was unknown a moment ago."""
        return self._digests.get(digest, now) > now

    def wait_seconds(self, address: str, now: float) -> float:
        """Return for how long no key that is not known may be looked up for *address*: 0 when one may."""
        started, count = self._addresses.get(address, (now, 0))
        return max(0.0, started + _WINDOW_SECONDS - now) if count >= self._per_minute else 0.0

    def add(self, digest: bytes, address: str, now: float) -> None:
        """Remember that the key is unknown, and that *address* sent it."""
        _put(self._digests, digest, now + _REMEMBERED_SECONDS, self._entries_max)
        started, count = self._addresses.get(address, (now, 0))
        if now >= started + _WINDOW_SECONDS:
            started, count = now, 0
        _put(self._addresses, address, (started, count + 1), self._entries_max)

    def clear(self) -> None:
        """Forget which keys are unknown: one of them may have been made or changed. The addresses are remembered."""
        self._digests.clear()


def _put(entries: dict[Key, Value], key: Key, value: Value, entries_max: int) -> None:
    """Put an entry in, as the newest, and take the oldest out where there are too many."""
    entries.pop(key, None)
    if len(entries) >= entries_max:
        del entries[next(iter(entries))]
    entries[key] = value
