"""When a client closes its connection, told by the protocol to calls that have to end then, without a task that waits.

A task for each stream, which only waits for `http.disconnect`, costs as much as the relay of eight of its events.
"""

from collections.abc import Callable
from typing import Final

SCOPE_KEY: Final = "weir.departure"
"""The Departure of the connection that an HTTP call came by, in its ASGI scope."""


class Departure:
    """The end of one connection."""

    def __init__(self) -> None:
        self._has_left = False
        self._listeners: list[Callable[[], object]] = []

    def listen(self, listener: Callable[[], object]) -> None:
        """Have *listener* called, once, when the client leaves; at once if it has left."""
        if self._has_left:
            listener()
        else:
            self._listeners.append(listener)

    def forget(self, listener: Callable[[], object]) -> None:
        """Call *listener* no more."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def happen(self) -> None:
        """Tell all who listen: the client has left."""
        self._has_left = True
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener()
