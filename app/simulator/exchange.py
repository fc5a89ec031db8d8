"""One request and its answer on one connection: what the simulator needs of ASGI, and the client that may leave.

Everything that waits here also watches the client, so that no part of the simulator can miss that it left.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final, NoReturn

from app.simulator.call import BODY_BYTES_MAX as ARRIVED_BYTES_MAX
from app.simulator.call import Call, Ending
from app.simulator.form import Form, FormReader
from app.simulator.refusal import Refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

TRANSPORT_EXTENSION: Final = "weir.simulator.transport"
"""The ASGI extension in which the simulator's server hands over the connection's `asyncio.Transport`."""
BODY_BYTES_MAX: Final = 64 * 1024 * 1024


class ClientLeft(Exception):
    """The client closed the connection before its answer was complete."""


class Dropped(Exception):
    """The script wants the connection dropped here; `ending` is what the account shall say."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending = ending


class Exchange(ABC):
    """One call and the way back to its client. `call` is kept up to date with what was really sent."""

    form: Form | None = None
    """The request's form, once the body was read."""

    def __init__(self, scope: Scope, call: Call, *, hang_seconds_max: float) -> None:
        self.call = call
        self.query: bytes = scope.get("query_string", b"")
        self._hang_seconds_max = hang_seconds_max

    @abstractmethod
    async def pause(self, seconds: float) -> None:
        """Wait *seconds*, at least one turn of the event loop; raises ClientLeft as soon as the client is gone."""

    @abstractmethod
    async def start(self, status: int, headers: Headers) -> None:
        """Send the status and *headers*; without a `content-length` the body is chunked."""

    @abstractmethod
    async def write(self, body: bytes) -> None:
        """Hand *body* to the socket; waits while a slow client's buffer is full. Raises ClientLeft."""

    @abstractmethod
    async def finish(self) -> None:
        """End the body properly: the last chunk, or nothing when its length was announced."""

    async def hang(self) -> NoReturn:
        """Do nothing until the client leaves (ClientLeft), but not for ever (Dropped)."""
        await self.pause(self._hang_seconds_max)
        raise Dropped(Ending.HUNG)


class HttpExchange(Exchange):
    """One request and its answer on an HTTP connection."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, call: Call, *, hang_seconds_max: float) -> None:
        super().__init__(scope, call, hang_seconds_max=hang_seconds_max)
        content_types = (value.decode("latin-1") for name, value in scope["headers"] if name == b"content-type")
        self._content_type = next(content_types, "")
        self._receive = receive
        self._send = send
        self._transport: asyncio.Transport | None = (scope.get("extensions") or {}).get(TRANSPORT_EXTENSION)
        self._watch: asyncio.Task[None] | None = None

    async def read_body(self) -> bytes:
        """Return the whole request body, its beginning kept in the account; that of a form is b"", and `form` is set.

        Raises ClientLeft, and Refusal (400) for what is no form, (413) for any other body above 64 MiB.
        """
        reader = FormReader(self._content_type) if self._content_type.lower().startswith("multipart/") else None
        body = bytearray()
        beginning = bytearray()
        size_bytes = 0
        async for data in self._pieces():
            size_bytes += len(data)
            beginning += data[: ARRIVED_BYTES_MAX - len(beginning)]
            if reader is not None:
                reader.feed(data)
                continue
            body += data
            if len(body) > BODY_BYTES_MAX:
                raise Refusal(413, f"The request body is larger than {BODY_BYTES_MAX} bytes.", code=None)
        if self.call.arrival is not None:
            self.call.arrival.keep(bytes(beginning), size_bytes)
        if reader is not None:
            self.form = reader.finish()
        return bytes(body)

    async def _pieces(self) -> AsyncIterator[bytes]:
        more_body = True
        while more_body:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            more_body = message.get("more_body", False)
            yield message.get("body", b"")

    async def pause(self, seconds: float) -> None:
        """Wait, as `Exchange` says."""
        if seconds > 0:
            await asyncio.wait((self._watching(),), timeout=seconds)
        else:
            await asyncio.sleep(0)
        self._check()

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head, as `Exchange` says."""
        self.call.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        self._check()

    async def write(self, body: bytes) -> None:
        """Send a piece of the body, as `Exchange` says."""
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        self._check()
        self.call.bytes_sent += len(body)

    async def finish(self) -> None:
        """End the body, as `Exchange` says."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def drop(self) -> None:
        """Close the connection in the middle of the answer, after the bytes that were written.

        Returns once the server has seen it, because an application that returns earlier is reported as broken.
        """
        if self._transport is not None:
            self._transport.close()
        elif not self._watching().done():
            raise ConnectionAbortedError("only the simulator's own server can break off an answer")
        await asyncio.wait((self._watching(),))

    def close(self) -> None:
        """Stop watching the client."""
        if self._watch is not None:
            self._watch.cancel()

    def _check(self) -> None:
        if (self._transport is not None and self._transport.is_closing()) or (self._watch and self._watch.done()):
            raise ClientLeft

    def _watching(self) -> asyncio.Task[None]:
        if self._watch is None:
            self._watch = asyncio.create_task(self._wait_for_disconnect())
        return self._watch

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
