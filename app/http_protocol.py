"""Uvicorn's HTTP protocol, with three manners of Weir's.

A connection that is lost is lost for each call on it, one on which nothing whole is asked is closed as an idle one is,
and what is written to one at once leaves at once: head and body in one packet.
"""

from asyncio import AbstractEventLoop, BaseTransport
from collections import deque
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_HEAD_BYTES_MAX: Final = 262_144
"""Far more than any setting allows: whoever sends so much without an end is not answered, but cut off."""


class JoiningTransport:
    """Sends what is written in one turn of the event loop as one piece: to wake up who receives it is what costs."""

    def __init__(self, transport: Any, loop: AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send *data* with what else is written in this turn."""
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)

    def close(self) -> None:
        """Send what was written, and close the connection."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        data = b"".join(self._pieces)
        self._pieces.clear()
        if data and not self._transport.is_closing():
            self._transport.write(data)


class HttpProtocol(HttpToolsProtocol):
    """One connection. Calls that are sent on it at once are answered one after the other."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._earlier: deque[RequestResponseCycle] = deque()
        """Calls that others were sent after before they were answered; uvicorn knows the latest only."""
        self._head_bytes: int | None = None
        """How much has come of a head that is not whole yet, beside its first piece; None while there is none."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin to wait for a first call."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.transport: Any = JoiningTransport(transport, self.loop)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless too much has come already of a head that is not whole yet."""
        if self._head_bytes is not None:
            if self._head_bytes > _HEAD_BYTES_MAX:
                self.transport.abort()
                return
            self._head_bytes += len(data)
        super().data_received(data)

    def _unset_keepalive_if_required(self) -> None:
        """Go on waiting, whatever comes: uvicorn calls this for each byte, and only a whole head is a call."""

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Begin a call, or have it wait for those before it."""
        self._head_bytes = None
        super()._unset_keepalive_if_required()
        latest: Any = self.cycle  # none before the first
        super().on_headers_complete()
        while self._earlier and self._earlier[0].response_complete:
            self._earlier.popleft()
        if latest is not None and not latest.response_complete:
            self._earlier.append(latest)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every call that its caller has left."""
        super()._unset_keepalive_if_required()
        for call in self._earlier:
            call.disconnected = True
            call.message_event.set()
        super().connection_lost(exc)
