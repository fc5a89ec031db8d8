"""The calls of a soak: plain ones, streams, some that clients abandon and some that fail upstream, at a steady rate."""

import asyncio
import time
from collections import Counter
from itertools import cycle
from typing import Final, Literal, NamedTuple

from tests.load.generator import Connection, chat_request, connect

_PATIENCE_SECONDS: Final = 30.0
_ABANDONED_SECONDS: Final = 0.05
"""After sending, or after the first byte of the answer."""


class Kind(NamedTuple):
    """One kind of call, and how it is to end."""

    name: str
    script: str
    """For the simulator."""
    is_stream: bool = False
    leaves: Literal["at once", "in the middle"] | None = None
    """When the client leaves; None if it waits for the end, which is a proper one, an error event if need be."""
    status: int = 200

    def request(self, port: int, key: str) -> bytes:
        """Return its request."""
        stream = b',"stream":true' if self.is_stream else b""
        body = b'{"model":"sim-small"%b,"messages":[{"role":"user","content":"Say hello to everybody."}]}' % stream
        return chat_request(port, key, body, f"x-simulator: {self.script}")


_PLAIN: Final = Kind("plain", "latency_ms=20")
_STREAM: Final = Kind("streamed", "output_tokens=40;tokens_per_second=200", is_stream=True)
_SLOW: Final = "output_tokens=200;tokens_per_second=100"
_LEFT_AT_ONCE: Final = Kind("abandoned at once", _SLOW, is_stream=True, leaves="at once")
_LEFT: Final = Kind("abandoned in the middle", _SLOW, is_stream=True, leaves="in the middle")
_FAILING: Final = (
    Kind("refused upstream", "status=400", status=400),
    Kind("failed upstream", "status=500", status=500),
    Kind("cut upstream", "cut_after=5;output_tokens=40", is_stream=True),
)
_OTHERS: Final = cycle(_FAILING)
_PLACES: Final = dict.fromkeys((1, 4, 9, 13, 17), _STREAM) | {5: _LEFT_AT_ONCE, 15: _LEFT}


class Mixture:
    """Sends it, and knows how it went since it was last asked."""

    def __init__(self, port: int, key: str) -> None:
        self.latencies: list[float] = []
        """Of the plain calls; seconds."""
        self.sent: Counter[str] = Counter()
        """By the name of their kind."""
        self.odd: Counter[str] = Counter()
        """Those that ended otherwise than they should, by what happened."""
        self._port = port
        self._key = key
        self._idle: list[Connection] = []
        self._running: set[asyncio.Task[None]] = set()

    async def send(self, calls_per_second: float, seconds: float) -> None:
        """Begin calls at a steady rate for so long, however long they take."""
        started = time.perf_counter()
        for number in range(int(calls_per_second * seconds)):
            due = started + number / calls_per_second
            await asyncio.sleep(due - time.perf_counter())
            task = asyncio.create_task(self._call(self._kind(number), due))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Wait for the calls that are under way, which is not for long, and close all connections."""
        await asyncio.gather(*self._running)
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _kind(self, number: int) -> Kind:
        """Return what is sent: of twenty calls, five streams, two that are abandoned, and one that fails."""
        place = number % 20
        if place == 0:
            return next(_OTHERS)
        return _PLACES.get(place, _PLAIN)

    async def _call(self, kind: Kind, due: float) -> None:
        self.sent[kind.name] += 1
        try:
            connection = self._idle.pop() if self._idle else await connect(self._port)
        except OSError:
            self.odd[f"{kind.name}: no connection"] += 1
            return
        answer = connection.call(kind.request(self._port, self._key))
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                if kind.leaves is not None:
                    await self._leave(kind, connection)
                    return
                is_whole = await answer
        except TimeoutError:
            self.odd[f"{kind.name}: no end"] += 1
            connection.close()
            return
        if not is_whole or connection.status != kind.status:
            self.odd[f"{kind.name}: {connection.status}{'' if is_whole else ', cut'}"] += 1
        elif kind is _PLAIN:
            self.latencies.append(time.perf_counter() - due)
        if connection.is_alive and is_whole:
            self._idle.append(connection)
        else:
            connection.close()

    async def _leave(self, kind: Kind, connection: Connection) -> None:
        """Close the connection before the answer's end."""
        if kind.leaves == "in the middle":
            await connection.has_begun.wait()
        await asyncio.sleep(_ABANDONED_SECONDS)
        connection.close()
