"""Uvicorn's HTTP protocol, with manners of Weir's.

A connection that is lost is lost for each call on it, and one on which nothing whole is asked is closed as an idle one
is. What a client may make Weir keep is bounded: heads, trailers, calls that wait, answers that nobody takes.
"""

from asyncio import BaseTransport, TimerHandle
from collections import deque
from typing import Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.core.departure import SCOPE_KEY as DEPARTURE
from app.core.departure import Departure
from app.http_writing import Call, JoiningTransport
from app.observability.context import BODY_CAME

_HEAD_BYTES_MAX: Final = 262_144
"""Far more than any setting allows: whoever sends so much without an end is not answered, but cut off."""
_CALLS_WAITING_MAX: Final = 16
"""On one connection; with more, nothing more is read until some are answered."""


class _Flow(FlowControl):
    """Reads on only while few calls wait for the one that is answered."""

    def __init__(self, transport: Any, pipeline: deque[Any]) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        """Read on, unless there is enough to do."""
        if len(self._pipeline) <= _CALLS_WAITING_MAX:
            super().resume_reading()


class HttpProtocol(HttpToolsProtocol):
    """One connection. Calls that are sent on it at once are answered one after the other."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._earlier: deque[RequestResponseCycle] = deque()
        """Calls that others were sent after before they were answered; uvicorn knows the latest only."""
        self._unread_bytes = 0
        """How much has come since a call began, its head was whole, or there was something of its body."""
        self._is_in_head = False
        self._departure = Departure()
        self._stalled: TimerHandle | None = None
        self._idle_since_seconds: float | None = None
        """Since when a call is waited for, on the loop's clock; None while one runs."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin to wait for a first call."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.transport: Any = JoiningTransport(transport, self.loop)
        self.flow = _Flow(transport, self.pipeline)
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
        following = self.pipeline.pop() if self.pipeline else None
        self.flow.resume_reading()
        if following is not None:
            self._start_asgi_task(*following)
        else:
            self._idle_since_seconds = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Take what came, unless too much has come already of a head, or of what follows a body, without an end."""
        if self._unread_bytes > _HEAD_BYTES_MAX:
            self.transport.abort()
            return
        self._unread_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as stopped:
            if self._declines_upgrade():
                self._stay(data[stopped.args[0] :])
            elif self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                self.send_400_response("Invalid HTTP request received.")
        except HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _declines_upgrade(self) -> bool:
        """Tell whether a client would like another protocol than is spoken here, such as h2c."""
        return self.parser.should_upgrade() and not self._should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _stay(self, rest: bytes) -> None:
        """Read a head anew as if it asked for no other protocol (RFC 9110, section 7.8), as its body comes behind it.

        Llhttp reads nothing behind such a head, and uvicorn would take it for a call without a body.
        """
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"\r\n".join([*lines, b"", rest]))

    def pause_writing(self) -> None:
        """Wait for a client that does not read, but not for ever: it holds a connection to an upstream."""
        super().pause_writing()
        self._look_at_reader_after(self.timeout_keep_alive, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Note that it reads again."""
        super().resume_writing()
        self._forget_stall()

    def _look_at_reader_after(self, seconds: float, unsent_bytes: int) -> None:
        self._stalled = self.loop.call_later(seconds, self._look_at_reader, unsent_bytes)

    def _look_at_reader(self, unsent_bytes: int) -> None:
        """Cut off a client that has taken nothing; nothing is added to what is unsent while it waits for that."""
        left_bytes = self.transport.get_write_buffer_size()
        if left_bytes < unsent_bytes:
            self._look_at_reader_after(self.timeout_keep_alive, left_bytes)
        else:
            self.transport.abort()

    def _forget_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _unset_keepalive_if_required(self) -> None:
        """Go on waiting, whatever comes: uvicorn calls this for each byte, and only a whole head is a call."""

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to another protocol."""
        super()._unset_keepalive_if_required()
        super().handle_websocket_upgrade()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header; those that follow a body are dropped (RFC 9110, section 6.5.1)."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._unread_bytes = 0
        self._is_in_head = True

    def on_headers_complete(self) -> None:
        """Begin a call, or have it wait for those before it."""
        if self._declines_upgrade():
            return
        self._unread_bytes = 0
        self._is_in_head = False
        self._idle_since_seconds = None
        latest: Any = self.cycle  # none before the first
        super().on_headers_complete()
        while self._earlier and self._earlier[0].response_complete:
            self._earlier.popleft()
        if latest is not None and not latest.response_complete:
            self._earlier.append(latest)

    def on_message_complete(self) -> None:
        """End a call's body."""
        if self._declines_upgrade():
            return
        self._unread_bytes = 0
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
        self._forget_stall()
        super()._unset_keepalive_if_required()
        for call in self._earlier:
            call.disconnected = True
            call.message_event.set()
        super().connection_lost(exc)
        self._departure.happen()
