"""One HTTP/1.1 connection to an upstream, and the one exchange that goes on there (RFC 9112).

llhttp reads what comes, strictly, by way of httptools. What is here only keeps it until somebody reads it, and says how
an answer broke; it never tries again.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from app.upstreams.failure import UpstreamFailed

_HEAD_SIZE_BYTES_MAX: Final = 32_768
_TOO_LONG: Final = f"its answer has a head of more than {_HEAD_SIZE_BYTES_MAX} bytes"
_UNREAD_BYTES_MAX: Final = 65_536
"""Of a body, as it was sent; with more the upstream has to wait until somebody has read."""
_OK: Final = 200
_WITHOUT_BODY: Final = frozenset({204, 304})
_TELL_THE_END: Final = frozenset({b"content-length", b"transfer-encoding"})


class Connection(asyncio.Protocol):
    """A connection on which one request after another is sent and answered."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._waits_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._room: asyncio.Future[None] | None = None
        self._is_full = False
        self.on_lost: Callable[[Connection], object] | None = None
        """Called when the connection ends while nothing is asked on it."""
        self._begin(has_body=True)
        self.is_ended = True

    def _begin(self, *, has_body: bool) -> None:
        self._has_body = has_body
        self._head_size_bytes = 0
        """At most: of everything that has come until the head was here."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        """Of the answer, in order, names in lower case, once `has_head`."""
        self.has_head = False
        self._pieces: list[bytes] = []
        self.on_body: Callable[[bytes], object] = self._pieces.append if has_body else _drop
        """Takes a piece of the body from the parser: one for each event of a stream, so nothing more is done then."""
        self._unread_bytes = 0
        self._is_paused = False
        self._is_kept = True
        self.is_ended = False
        """The whole answer has come."""
        self._error: UpstreamFailed | None = None
        self._parser = HttpResponseParser(self)  # which asks here and now what it is to call

    @property
    def is_reusable(self) -> bool:
        """Whether another request may be sent here: the last answer came whole, and the upstream stays."""
        return self.is_ended and self._is_kept and not self._is_paused and not self._transport.is_closing()

    @property
    def is_read(self) -> bool:
        """Whether the whole answer has come, and nobody has anything of it left to read."""
        return self.is_ended and not self._pieces

    def send(self, data: bytes, *, has_body: bool = True) -> None:
        """Begin a request with *data*; *has_body* is False where its answer has no body, whatever its head says."""
        self._begin(has_body=has_body)
        self._transport.write(data)

    async def send_more(self, data: bytes) -> None:
        """Send the next part of the request, as fast as the upstream takes it; raises UpstreamFailed."""
        if self._error is not None:
            raise self._error
        self._transport.write(data)
        if self._is_full:
            self._room = self._loop.create_future()
            await self._room

    def read(self) -> bytes | None:
        """Return what has come of the body, b"" at its end, None where there is nothing yet; raises UpstreamFailed."""
        if self._pieces:
            data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            self._unread_bytes = 0
            if self._is_paused:
                self._is_paused = False
                self._transport.resume_reading()
            return data
        if self._error is not None:
            raise self._error
        return b"" if self.is_ended else None

    def check_head(self) -> bool:
        """Tell whether the answer's head has come; raises UpstreamFailed."""
        if self._error is not None and not self.has_head:
            raise self._error
        return self.has_head

    def news(self, until: float) -> asyncio.Future[None]:
        """Return what is done once something has come, or happened, or it is *until* by the event loop's clock."""
        self._waiter = self._loop.create_future()
        self._waits_until = until
        # One timer outlives many waits, as most end long before it: to make and cancel one for each would cost more.
        if self._timer is None or self._timer.when() > until:
            self._set_timer()
        return self._waiter

    def wake(self) -> None:
        """Have whoever waits look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._waits_until, self._look_at_clock)

    def _look_at_clock(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() >= self._waits_until:
            self.wake()
        else:
            self._set_timer()

    def close(self) -> None:
        """Close the connection at once, which tells the upstream to stop."""
        self.on_lost = None
        self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read *data*."""
        if self.is_ended:  # nobody asked for it: the next answer could not be told from this
            self._is_kept = False
            self._transport.abort()
            return
        if not self.has_head:
            self._head_size_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._is_kept = False
            if not self.is_ended:
                problem = "it changes the protocol" if isinstance(error, HttpParserUpgrade) else error
                self._fail(str(error.__context__ or f"its answer is not HTTP: {problem}")[:200])
                return
        if not self.has_head:
            if self._head_size_bytes > _HEAD_SIZE_BYTES_MAX:
                self._fail(_TOO_LONG)
            return
        self._unread_bytes += len(data)
        if self._pieces and self._unread_bytes > _UNREAD_BYTES_MAX and not self._is_paused and not self.is_ended:
            self._is_paused = True
            self._transport.pause_reading()
        self.wake()

    def pause_writing(self) -> None:
        """Note that the upstream does not take more for now."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._is_full = False
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that there is no connection any more."""
        self._is_kept = False
        if self._timer is not None:
            self._timer.cancel()
        if self.is_ended:
            if self.on_lost is not None:
                self.on_lost(self)
        elif self.has_head and exc is None and self._ends_with_connection():
            self.is_ended = True
        else:
            where = "inside its answer" if self.has_head else "before its answer"
            self._fail(f"the connection ended {where}" + (f": {str(exc)[:200]}" if exc else ""))
        self._make_room()
        self.wake()

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header; those that follow a body are dropped."""
        if not self.has_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Note that the head is here; one that is only informational is dropped (RFC 9110, section 15.2)."""
        status = self._parser.get_status_code()
        if status < _OK:
            self.headers.clear()
            return
        if self._head_size_bytes > _HEAD_SIZE_BYTES_MAX:
            size_bytes = sum(len(name) + len(value) for name, value in self.headers)
            if size_bytes > _HEAD_SIZE_BYTES_MAX:
                raise ValueError(_TOO_LONG)
        self.status = status
        self.has_head = True
        if not self._has_body:
            self.is_ended, self._is_kept = True, False  # the parser waits for a body all the same

    def on_message_complete(self) -> None:
        """Note that the answer is whole."""
        if self.has_head:
            self.is_ended = True
            self._is_kept = self._is_kept and self._parser.should_keep_alive()

    def on_message_begin(self) -> None:
        """Refuse what follows the answer: nobody has asked for it."""
        if self.is_ended:
            raise ValueError("an answer follows that nobody has asked for")

    def _ends_with_connection(self) -> bool:
        """Tell whether the answer's head leaves it to the connection's end to say where the body ends."""
        has_body = self._has_body and self.status not in _WITHOUT_BODY
        return has_body and not any(name in _TELL_THE_END for name, _ in self.headers)

    def _fail(self, reason: str) -> None:
        if self._error is None:
            self._error = UpstreamFailed("lost", reason)
        self._transport.abort()
        self._make_room()
        self.wake()

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)


def _drop(_data: bytes) -> None:
    """Do nothing with what follows a head that has no body."""
