"""/v1/responses over a WebSocket: every `response.create` is answered as a POST would be, an event a message.

https://platform.openai.com/docs/guides/websocket-mode
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import orjson

from app.simulator.account import Account
from app.simulator.call import Call, Ending
from app.simulator.delivery import Delivery
from app.simulator.exchange import ClientLeft, Dropped, Exchange, Headers, Scope
from app.simulator.fields import Document, read_document, read_text
from app.simulator.refusal import Refusal, invalid_value
from app.simulator.script import read_script
from app.simulator.socket_peer import SocketPeer

_PATH: Final = "/v1/responses"
_ENVELOPE: Final = frozenset({"type", "stream_id"})

Create = Callable[[Delivery, Document, str], Awaitable[Ending]]


class SocketResponses:
    """One connection; each of its lanes answers one request after another."""

    def __init__(self, peer: SocketPeer, account: Account, create: Create, *, hang_seconds_max: float) -> None:
        self._peer = peer
        self._account = account
        self._create = create
        self._hang_seconds_max = hang_seconds_max

    async def run(self, scope: Scope, script: str | None) -> None:
        """Answer until the client leaves; raises Dropped where a script wants the connection dropped."""
        lanes: dict[object, asyncio.Queue[Document]] = {}
        async with asyncio.TaskGroup() as group:
            tasks = []
            while (text := await self._peer.next()) is not None:
                try:
                    event = read_document(text.encode())
                    if read_text(event, "type") != "response.create":
                        raise invalid_value("type", f"Invalid event type: '{event['type']}'.")
                except Refusal as refusal:
                    await self._peer.send(_error(refusal.status, refusal.error, None))
                    continue
                lane = event.get("stream_id")
                if lane not in lanes:
                    lanes[lane] = asyncio.Queue()
                    tasks.append(group.create_task(self._serve(lanes[lane], scope, script)))
                lanes[lane].put_nowait(event)
            for task in tasks:
                task.cancel()

    async def _serve(self, events: "asyncio.Queue[Document]", scope: Scope, script: str | None) -> None:
        while True:
            event = await events.get()
            call = self._account.open("response.create", _PATH, scope["headers"])
            if call.arrival is not None:
                body = orjson.dumps(event)
                call.arrival.keep(body, len(body))
            ending = Ending.CUT
            try:
                ending = await self._answer(call, event, scope, script)
            except ClientLeft:
                ending = Ending.CLIENT_LEFT
                return
            except Dropped as dropped:
                ending = dropped.ending
                await self._peer.drop()
                return
            except asyncio.CancelledError:
                ending = Ending.CLIENT_LEFT
                raise
            finally:
                self._account.close(call, ending)

    async def _answer(self, call: Call, event: Document, scope: Scope, script: str | None) -> Ending:
        exchange = _SocketExchange(self._peer, event.get("stream_id"), scope, call, self._hang_seconds_max)
        delivery = Delivery(exchange)
        document = {name: value for name, value in event.items() if name not in _ENVELOPE}
        try:
            call.model, delivery.script = read_script(read_text(document, "model"), script)
            return await self._create(delivery, {**document, "stream": True}, call.model)
        except Refusal as refusal:
            return await delivery.send_refusal(refusal)


class _SocketExchange(Exchange):
    """One answer, whose events become messages."""

    def __init__(self, peer: SocketPeer, lane: object, scope: Scope, call: Call, hang_seconds_max: float) -> None:
        super().__init__(scope, call, hang_seconds_max=hang_seconds_max)
        self._peer = peer
        self._lane = lane

    async def pause(self, seconds: float) -> None:
        await self._peer.pause(seconds)

    async def start(self, status: int, headers: Headers) -> None:  # noqa: ARG002 - there are none on a message
        self.call.status = status

    async def write(self, body: bytes) -> None:
        if self.call.status != 200:
            await self._peer.send(_error(self.call.status or 500, orjson.loads(body)["error"], self._lane))
            return
        data = b"\n".join(line[6:] for line in body.splitlines() if line.startswith(b"data: "))
        if self._lane is not None and data.startswith(b"{"):
            data = b'{"stream_id":%b,' % orjson.dumps(self._lane) + data[1:]
        await self._peer.send(data.decode())
        self.call.bytes_sent += len(data)

    async def finish(self) -> None:
        """Do nothing: a message ends by itself."""


def _error(status: int, error: Document, lane: object) -> Document:
    event: Document = {"type": "error", "status": status, "error": error}
    return event if lane is None else {**event, "stream_id": lane}
