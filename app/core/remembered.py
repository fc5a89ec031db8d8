"""What a process remembers of the database, so that calls cost no I/O: for a while, up to a number, until it changes.

What changes while it is being read is not remembered: it may be wrong already.
"""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from app.core.clock import monotonic_seconds

Key = TypeVar("Key")
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """Values by key, each believed for `seconds`; of more than `entries_max` the oldest are forgotten."""

    def __init__(self, seconds: float, entries_max: int) -> None:
        self._seconds = seconds
        self._entries_max = entries_max
        self._known: dict[Key, tuple[Value, float]] = {}
        self._forgotten = 0

    async def get(self, key: Key, read: Callable[[], Awaitable[Value]]) -> Value:
        """Return the value of *key*, as *read* answers it unless it is known."""
        known = self._known.get(key)
        if known is not None and monotonic_seconds() < known[1]:
            return known[0]
        self._known.pop(key, None)
        forgotten = self._forgotten
        value = await read()
        if forgotten == self._forgotten:
            if len(self._known) >= self._entries_max:
                del self._known[next(iter(self._known))]
            self._known[key] = (value, monotonic_seconds() + self._seconds)
        return value

    def forget(self, is_meant: Callable[[Key, Value], bool]) -> None:
        """Forget the values that *is_meant* picks, and whatever is being read just now."""
        self._forgotten += 1
        for key, (value, _) in list(self._known.items()):
            if is_meant(key, value):
                del self._known[key]
