"""WebSockets without the SDK: to send what it would not, and to see what it hides."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.fixtures.weir import RunningWeir

PATIENCE_SECONDS = 15
REALTIME = "/v1/realtime?model=sim-small"
RESPONSES = "/v1/responses"


class Wire:
    """One open socket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, *events: dict[str, Any] | str | bytes) -> None:
        for event in events:
            await self.connection.send(orjson.dumps(event).decode() if isinstance(event, dict) else event)

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            event: dict[str, Any] = orjson.loads(await self.connection.recv())
            return event

    async def until(self, *kinds: str) -> list[dict[str, Any]]:
        """The events up to the first of one of *kinds*."""
        events = [await self.receive()]
        while events[-1]["type"] not in kinds:
            events.append(await self.receive())
        return events

    async def closed(self) -> tuple[int | None, str | None, list[dict[str, Any]]]:
        """How the other side closes it, and what it said before."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            events = [orjson.loads(message) async for message in _messages(self.connection)]
        return self.connection.close_code, self.connection.close_reason, events


async def _messages(connection: ClientConnection) -> AsyncIterator[str | bytes]:
    try:
        while True:
            yield await connection.recv()
    except ConnectionClosed:
        return


@asynccontextmanager
async def opened(
    weir: RunningWeir, path: str = REALTIME, *, subprotocols: Sequence[str] = (), **options: Any
) -> AsyncIterator[Wire]:
    headers = {"authorization": f"Bearer {weir.api_key}", **options.pop("headers", {})}
    headers = {name: value for name, value in headers.items() if value}
    url = weir.base_url.replace("http://", "ws://") + path
    names = [Subprotocol(name) for name in subprotocols] or None
    async with connect(url, additional_headers=headers, subprotocols=names, proxy=None, **options) as connection:
        yield Wire(connection)


async def refused(weir: RunningWeir, path: str = REALTIME, **options: Any) -> tuple[int, dict[str, Any], Any]:
    """The status, the error and the headers of a handshake that is refused."""
    try:
        async with opened(weir, path, **options):
            raise AssertionError("the socket was opened")
    except InvalidStatus as answer:
        response = answer.response
        return response.status_code, orjson.loads(response.body or b"")["error"], response.headers


def message(text: str = "Say hello.") -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}


def asks(**response: Any) -> dict[str, Any]:
    """A request for a response in text."""
    return {"type": "response.create", "response": {"output_modalities": ["text"], **response}}
