"""A WebSocket to an upstream as the rest of Weir sees it, whatever client opened it."""

from collections.abc import Awaitable
from typing import Protocol


class SocketRefused(Exception):
    """The upstream answered with an HTTP status instead of opening the socket: nothing was begun."""

    def __init__(self, status: int) -> None:
        super().__init__(f"it answered {status} instead of opening a WebSocket")
        self.status = status


class UpstreamSocket(Protocol):
    """An open socket (RFC 6455); one task may receive while another one sends."""

    subprotocol: str | None
    """The one that the upstream chose."""

    def receive(self) -> Awaitable[str | bytes | None]:
        """Return the next message, None once the socket is closed, however that came."""

    def send(self, text: str) -> Awaitable[None]:
        """Send a message; waits while the upstream reads slowly. Raises UpstreamFailed once the socket is closed."""

    def close(self) -> Awaitable[None]:
        """Close it; the upstream gets a moment to say goodbye."""

    def ended(self) -> str:
        """Return, for operators, how it came to its end."""
