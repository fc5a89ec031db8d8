"""Uvicorn's HTTP protocol, with manners of Weir's.

A connection that is lost is lost for each call on it, and one on which nothing whole is asked is closed as an idle one
is. An ordinary answer's head is checked and written in one go, and leaves in one packet with the beginning of its body;
the chunks of a stream are framed here. Whatever is unusual about an answer is left to uvicorn.
"""

from asyncio import AbstractEventLoop, BaseTransport
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from app.core.departure import SCOPE_KEY as DEPARTURE
from app.core.departure import Departure
from app.observability.context import BODY_CAME

_HEAD_BYTES_MAX: Final = 262_144
"""Far more than any setting allows: whoever sends so much without an end is not answered, but cut off."""
_FRAMES_ITSELF: Final = frozenset({b"connection", b"transfer-encoding"})
_BYTES: Final = [bytes([number]) for number in range(256)]
_NOT_IN_NAMES: Final = b"".join(byte for byte in _BYTES if HEADER_RE.search(byte) or byte != byte.lower())
_NOT_IN_VALUES: Final = b"".join(filter(HEADER_VALUE_RE.search, _BYTES))
_WITHOUT_BODY: Final = frozenset({204, 304})


class JoiningTransport:
    """Sends a head with what is written in the same turn of the event loop: to wake up who receives it costs most."""

    def __init__(self, transport: Any, loop: AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []
        self.is_closing = transport.is_closing

    def hold(self, head: bytes) -> None:
        """Send *head* with what else is written in this turn."""
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(head)

    def write(self, data: bytes) -> None:
        """Send *data*, behind what is held."""
        if self._pieces:
            self._pieces.append(data)
        elif not self._transport.is_closing():
            self._transport.write(data)

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


class Call(RequestResponseCycle):
    """One call and its answer."""

    transport: Any
    """A JoiningTransport."""

    async def send(self, message: Any) -> None:
        """Send a part of the answer; raises RuntimeError for a header that has line breaks or the like in it."""
        if self.response_started:
            if self._is_usual_piece(message):
                piece = message["body"]
                self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                return
        elif (head := self._usual_head(message)) is not None:
            self.response_started = True
            self.waiting_for_100_continue = False
            self.transport.hold(head)
            return
        await super().send(message)

    def _is_usual_piece(self, message: Any) -> bool:
        """Tell whether *message* is a chunk of a body that goes on, and can be written at once."""
        if not (self.chunked_encoding and message.get("more_body") and message.get("body")):
            return False
        if self.response_complete or self.disconnected or self.flow.write_paused:
            return False
        return self.scope["method"] != "HEAD"

    def _usual_head(self, message: Any) -> bytes | None:
        """Return the head as uvicorn writes it, and note how the body is framed; None for it to do both itself.

        Uvicorn searches each name and value for what must not be in one: here all of them are looked through at once.
        """
        if message["type"] != "http.response.start" or self.access_log or not self.keep_alive:
            return None
        if self.disconnected or self.flow.write_paused:
            return None
        headers = [*self.default_headers, *message.get("headers", ())]
        names = [name for name, _ in headers]
        if _has_any(_NOT_IN_NAMES, names) or _has_any(_NOT_IN_VALUES, [value for _, value in headers]):
            return None
        if not _FRAMES_ITSELF.isdisjoint(names):
            return None
        end = b"\r\n\r\n"
        if b"content-length" in names:
            self.expected_content_length = int(headers[names.index(b"content-length")][1])
            self.chunked_encoding = False
        elif self.scope["method"] == "HEAD" or message["status"] in _WITHOUT_BODY:
            return None
        else:
            self.chunked_encoding = True
            end = b"\r\ntransfer-encoding: chunked\r\n\r\n"
        return STATUS_LINE[message["status"]] + b"\r\n".join(map(b": ".join, headers)) + end


def _has_any(characters: bytes, texts: Iterable[bytes]) -> bool:
    text = b"".join(texts)
    return len(text.translate(None, characters)) < len(text)


class HttpProtocol(HttpToolsProtocol):
    """One connection. Calls that are sent on it at once are answered one after the other."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._earlier: deque[RequestResponseCycle] = deque()
        """Calls that others were sent after before they were answered; uvicorn knows the latest only."""
        self._head_bytes: int | None = None
        """How much has come of a head that is not whole yet, beside its first piece; None while there is none."""
        self._departure = Departure()
        self._idle_since_seconds: float | None = None
        """Since when a call is waited for, on the loop's clock; None while one runs."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin to wait for a first call."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.transport: Any = JoiningTransport(transport, self.loop)
        self._idle_since_seconds = self.loop.time()
        self._look_again_after(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if nothing was asked for long enough, else look again when that may be so.

        One timer for each connection, where uvicorn has one for each call.
        """
        since_seconds = self._idle_since_seconds
        left_seconds = float(self.timeout_keep_alive)
        if since_seconds is not None:
            left_seconds -= self.loop.time() - since_seconds
        if left_seconds > 0:
            self._look_again_after(left_seconds)
        else:
            super().timeout_keep_alive_handler()

    def _look_again_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def on_response_complete(self) -> None:
        """Begin the next call that is there already, or to wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since_seconds = self.loop.time()

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

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to another protocol."""
        super()._unset_keepalive_if_required()
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Begin a call, or have it wait for those before it."""
        self._head_bytes = None
        self._idle_since_seconds = None
        latest: Any = self.cycle  # none before the first
        super().on_headers_complete()
        while self._earlier and self._earlier[0].response_complete:
            self._earlier.popleft()
        if latest is not None and not latest.response_complete:
            self._earlier.append(latest)

    def on_message_complete(self) -> None:
        """End a call's body."""
        super().on_message_complete()
        scope: Any = self.scope
        scope[BODY_CAME] = True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        scope: Any = cycle.scope
        scope[DEPARTURE] = self._departure
        cycle.__class__ = Call  # uvicorn makes it, and lets nobody choose of what class
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every call that its caller has left."""
        super()._unset_keepalive_if_required()
        for call in self._earlier:
            call.disconnected = True
            call.message_event.set()
        super().connection_lost(exc)
        self._departure.happen()
