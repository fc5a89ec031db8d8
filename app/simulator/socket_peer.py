"""The other end of one WebSocket: its messages are read ahead a little, so that its leaving is noticed at once."""

import asyncio
from typing import Any, Final

import orjson

from app.simulator.exchange import TRANSPORT_EXTENSION, ClientLeft, Headers, Receive, Scope, Send
from app.simulator.fields import Document
from app.simulator.refusal import Refusal

_READ_AHEAD: Final = 16


class SocketPeer:
    """A client on a WebSocket that is not open yet."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.subprotocols: list[str] = scope["subprotocols"]
        self._receive = receive
        self._send = send
        self._transport: asyncio.Transport | None = scope["extensions"].get(TRANSPORT_EXTENSION)
        self._messages: asyncio.Queue[str | None] = asyncio.Queue(_READ_AHEAD)
        self._gone = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an error instead of opening the socket."""
        headers: Headers = [(b"content-type", refusal.content_type.encode())]
        start = {"type": "websocket.http.response.start", "status": refusal.status, "headers": headers}
        await self._send(start)
        await self._send({"type": "websocket.http.response.body", "body": refusal.body})

    async def open(self, headers: Headers) -> None:
        """Open the socket."""
        await self._receive()
        chosen = self.subprotocols[0] if self.subprotocols else None
        await self._send({"type": "websocket.accept", "subprotocol": chosen, "headers": headers})
        self._reading = asyncio.create_task(self._read(), name="peer")

    async def next(self) -> str | None:
        """Return the next message, None once the client has left."""
        return await self._messages.get()

    async def send(self, message: Document | str) -> None:
        """Send a message; waits while the client reads slowly. Raises ClientLeft."""
        text = message if isinstance(message, str) else orjson.dumps(message).decode()
        self._check()
        try:
            await self._send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError):
            raise ClientLeft from None

    async def pause(self, seconds: float) -> None:
        """Wait *seconds*, at least one turn of the event loop; raises ClientLeft as soon as the client is gone."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._gone.wait()
        except TimeoutError:
            await asyncio.sleep(0)
        self._check()

    async def close(self, code: int) -> None:
        """Close the socket, in good order."""
        if not self._gone.is_set():
            await self._send({"type": "websocket.close", "code": code})

    async def drop(self) -> None:
        """Break the connection off."""
        assert self._transport is not None, "only the simulator's own server can break off a socket"  # noqa: S101
        self._transport.abort()
        await self._gone.wait()

    def stop(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> None:
        while True:
            message: Any = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._gone.set()
                await self._messages.put(None)
                return
            await self._messages.put(message.get("text") or "")

    def _check(self) -> None:
        if self._gone.is_set():
            raise ClientLeft
