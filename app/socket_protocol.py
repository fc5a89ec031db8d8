"""Uvicorn's WebSocket protocol, with three manners of Weir's.

A peer that does not answer is cut off, a process that stops lets answers end, and a handshake that cannot be read ends
its connection.
"""

from asyncio import Task
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

RESTARTING = 1012


class SocketProtocol(WebSocketsSansIOProtocol):
    """One connection after its upgrade."""

    def data_received(self, data: bytes) -> None:
        """Take what came; a handshake that is no good would otherwise leave the connection open for ever."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.transport.close()

    def keepalive_timeout(self) -> None:
        """Give up a peer that owes a pong: closing in good order would wait for it to read what it does not read."""
        super().keepalive_timeout()
        self.transport.abort()

    def on_task_complete(self, task: "Task[None]") -> None:
        """Give a peer that does not read a moment to read the end."""
        super().on_task_complete(task)
        self.loop.call_later(self.close_timeout, self.transport.abort)

    def shutdown(self) -> None:
        """Tell the application that nothing more will come; it closes the connection when its answers have ended."""
        if self.handshake_complete and not self.close_sent:
            self.stop_keepalive()
            restart: Any = {"type": "websocket.disconnect", "code": RESTARTING}
            self.queue.put_nowait(restart)
        else:
            super().shutdown()
