"""A bounded load on one loopback address: N connections that each send the same request, again and again."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast


@dataclass
class Result:
    """What a round of calls took; seconds."""

    calls: int = 0
    failures: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    def percentile_ms(self, share: float) -> float:
        """Return the latency below which *share* of the calls stayed, in milliseconds."""
        ordered = sorted(self.latencies)
        return 1_000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class _Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection; an answer ends with its content length or its last chunk."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._done: asyncio.Future[bool] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._is_complete():
            self._finish(is_ok=self._data.startswith(b"HTTP/1.1 200"))

    def connection_lost(self, error: Exception | None) -> None:
        self._finish(is_ok=False)

    def call(self, request: bytes) -> asyncio.Future[bool]:
        assert self._transport is not None
        self._data.clear()
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._done

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _finish(self, *, is_ok: bool) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(is_ok)

    def _is_complete(self) -> bool:
        head_end = self._data.find(b"\r\n\r\n")
        if head_end < 0:
            return False
        head = bytes(self._data[:head_end]).lower()
        at = head.find(b"content-length:")
        if at < 0:
            return self._data.endswith(b"0\r\n\r\n")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        return len(self._data) >= head_end + 4 + length


async def load(port: int, request: bytes, *, connections: int, seconds: float) -> Result:
    """Send *request* on each of *connections* connections, one call at a time, for *seconds*."""
    loop = asyncio.get_running_loop()
    result = Result()
    started = time.perf_counter()
    deadline = started + seconds

    async def run() -> None:
        _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
        while (before := time.perf_counter()) < deadline:
            is_ok = await connection.call(request)
            result.latencies.append(time.perf_counter() - before)
            result.calls += 1
            if not is_ok:
                result.failures += 1
                break
        connection.close()

    await asyncio.gather(*(run() for _ in range(connections)))
    result.seconds = time.perf_counter() - started
    return result


async def paced(port: int, request: bytes, calls_per_second: float, seconds: float) -> Result:
    """Send *request* at a steady rate, however long answers take; a latency counts from when its call was due."""
    loop = asyncio.get_running_loop()
    result = Result()
    idle: list[_Connection] = []
    started = time.perf_counter()

    async def run(due: float) -> None:
        connection = idle.pop() if idle else (await loop.create_connection(_Connection, "127.0.0.1", port))[1]
        is_ok = await connection.call(request)
        result.latencies.append(time.perf_counter() - due)
        result.calls += 1
        if is_ok:
            idle.append(connection)
        else:
            result.failures += 1

    running = []
    for number in range(int(calls_per_second * seconds)):
        due = started + number / calls_per_second
        await asyncio.sleep(due - time.perf_counter())
        running.append(asyncio.create_task(run(due)))
    await asyncio.gather(*running)
    for connection in idle:
        connection.close()
    result.seconds = time.perf_counter() - started
    return result


def chat_request(port: int, key: str, body: bytes) -> bytes:
    """Return the bytes of one chat completion request."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
