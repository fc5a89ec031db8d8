"""How an answer is written to its connection: in few packets, and with little work for what is usual about it.

A head is checked and written in one go, and leaves in one packet with the beginning of its body; the chunks of a stream
are framed here. Whatever is unusual is left to uvicorn.
"""

from asyncio import AbstractEventLoop
from collections.abc import Iterable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

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
    _ends_with_connection = False

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
        if self.scope["http_version"] == "1.0":
            self._frame_without_chunks(message)
        await super().send(message)

    def _frame_without_chunks(self, message: Any) -> None:
        """Let the connection's end be the end of a body whose length nobody knows, as HTTP/1.0 has no chunks.

        RFC 9112, sections 6.1 and 6.3; uvicorn closes such a connection, and sends chunks all the same.
        """
        if message["type"] == "http.response.start":
            headers = [header for header in message.get("headers", ()) if header[0] != b"transfer-encoding"]
            message["headers"] = headers
            self._ends_with_connection = all(name != b"content-length" for name, _ in headers)
            self.chunked_encoding = False if self._ends_with_connection else None
        elif self._ends_with_connection:
            self.expected_content_length = len(message.get("body", b""))  # of this piece: uvicorn refuses to send more

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
