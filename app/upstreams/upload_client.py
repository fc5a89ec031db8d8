"""Sends a body in pieces while its answer is awaited, which may come before the last of them.

As long as pieces come the wait for the answer has not begun.
"""

import asyncio
from collections.abc import AsyncIterator

from app.upstreams.body import Body
from app.upstreams.connection_client import Connection
from app.upstreams.failure import UpstreamFailed
from app.upstreams.waits import Waits


class Upload:
    """One body on its way; it begins by itself."""

    def __init__(self, connection: Connection, pieces: AsyncIterator[bytes], waits: Waits, *, is_chunked: bool) -> None:
        self._connection = connection
        self._pieces = pieces
        self._waits = waits
        self._is_chunked = is_chunked
        self._loop = asyncio.get_running_loop()
        self._error: Exception | None = None
        self._is_sent = False
        self.answer_until = waits.first_byte_at(self._loop.time())
        """When the wait for the answer ends, by the event loop's clock."""
        self._task = self._loop.create_task(self._send())

    def check(self) -> None:
        """Raise what the pieces themselves have failed with."""
        if self._error is not None:
            raise self._error

    def stop(self) -> bool:
        """Send nothing more, and tell whether all was sent."""
        self._task.cancel()
        return self._is_sent

    async def _send(self) -> None:
        try:
            async for piece in self._pieces:
                await self._send_piece(piece)
                self.answer_until = self._waits.first_byte_at(self._loop.time())
            if self._is_chunked:
                await self._connection.send_more(b"0\r\n\r\n")
            self._is_sent = True
        except UpstreamFailed:
            pass  # whoever waits for the answer hears of it from the connection
        except Exception as error:  # noqa: BLE001 - raised where the answer is awaited
            self._error = error
            self._connection.wake()

    async def _send_piece(self, piece: bytes) -> None:
        if piece:  # an empty chunk would be the last one
            await self._connection.send_more(b"%x\r\n%b\r\n" % (len(piece), piece) if self._is_chunked else piece)


def pieces_of(body: Body, size_bytes: int) -> AsyncIterator[bytes] | None:
    """Return the pieces in which *body* is to be sent; None for one that is sent at once, or that is not there."""
    if body is None or (isinstance(body, bytes) and len(body) <= size_bytes):
        return None
    return _slices(body, size_bytes) if isinstance(body, bytes) else body


async def _slices(body: bytes, size_bytes: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size_bytes):
        yield body[start : start + size_bytes]
