"""A bounded load on one loopback address: as many calls as N connections can make, or a steady rate of them."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

_PATIENCE_SECONDS = 30.0
"""After this time without an end, a load fails."""


@dataclass
class Result:
    """What a round of calls took; seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)
    """Until the first byte of each answer's body."""
    failed: Counter[str] = field(default_factory=Counter)
    """What came in the place of a whole answer of status 200."""

    def require_success(self) -> "Result":
        """Return this; raises RuntimeError when a call failed."""
        if self.failed:
            raise RuntimeError(f"calls failed: {dict(self.failed)}")
        return self

    @property
    def calls(self) -> int:
        """How many there were."""
        return len(self.latencies)

    def percentile_ms(self, share: float) -> float:
        """Return the latency below which *share* of the calls stayed, in milliseconds."""
        return percentile_ms(self.latencies, share)


def percentile_ms(seconds: list[float], share: float) -> float:
    """Return the value below which *share* of *seconds* are, in milliseconds; 0 of none."""
    ordered = sorted(seconds)
    return 1_000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection; an answer ends with its content length or its last chunk."""

    def __init__(self) -> None:
        self.status = 0
        """Of the last answer; 0 if it did not come."""
        self.first_byte_at = 0.0
        """When the body of the last answer began."""
        self.has_begun = asyncio.Event()
        """That it began, or never will."""
        self.is_alive = True
        self._data = bytearray()
        self._body_at = self._end_at = 0
        self._done: asyncio.Future[bool] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._body_at:
            self._read_head()
        if not self._body_at or len(self._data) == self._body_at:
            return
        if not self.first_byte_at:
            self.first_byte_at = time.perf_counter()
            self.has_begun.set()
        is_chunked = self._end_at == 0
        if self._data.endswith(b"0\r\n\r\n") if is_chunked else len(self._data) >= self._end_at:
            self._finish(is_whole=True)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_alive = False
        self.has_begun.set()
        self._finish(is_whole=False)

    def call(self, request: bytes) -> asyncio.Future[bool]:
        """Send *request*; the result says whether the whole of an answer came, and `status` which one."""
        assert self._transport is not None
        self._data.clear()
        self._body_at = self._end_at = self.status = 0
        self.first_byte_at = 0.0
        self.has_begun.clear()
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._done

    def told(self, *, is_whole: bool) -> str:
        """Return what the last answer was, in words."""
        return f"{self.status}{'' if is_whole else ', cut'} {bytes(self._data[self._body_at :][:200])!r}"

    def close(self) -> None:
        """Leave, whatever is still to come."""
        if self._transport is not None:
            self._transport.abort()

    def _finish(self, *, is_whole: bool) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(is_whole)

    def _read_head(self) -> None:
        head_end = self._data.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._data[:head_end]).lower()
        self.status = int(head[9:12])
        self._body_at = head_end + 4
        _, is_sized, rest = head.partition(b"\r\ncontent-length:")
        if is_sized:
            self._end_at = self._body_at + int(rest.partition(b"\r\n")[0])


async def connect(port: int) -> Connection:
    """Return a new connection to *port*."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


async def load(port: int, requests: Iterator[bytes], *, connections: int, seconds: float) -> Result:
    """Send *requests* on each of *connections* connections, one call at a time, for *seconds*."""
    result = Result()
    started = time.perf_counter()
    deadline = started + seconds

    async def run() -> None:
        connection = await connect(port)
        while (before := time.perf_counter()) < deadline:
            is_whole = await connection.call(next(requests))
            if not is_whole or connection.status != 200:
                result.failed[connection.told(is_whole=is_whole)] += 1
                break
            result.latencies.append(time.perf_counter() - before)
        connection.close()

    async with asyncio.timeout(seconds + _PATIENCE_SECONDS):
        await asyncio.gather(*(run() for _ in range(connections)))
    result.seconds = time.perf_counter() - started
    return result


async def paced(port: int, requests: Iterator[bytes], calls_per_second: float, seconds: float) -> Result:
    """Send *requests* at a steady rate, however long answers take; a latency counts from when its call was due."""
    result = Result()
    idle: list[Connection] = []
    started = time.perf_counter()

    async def run(due: float) -> None:
        connection = idle.pop() if idle else await connect(port)
        is_whole = await connection.call(next(requests))
        if is_whole and connection.status == 200:
            result.latencies.append(time.perf_counter() - due)
            result.first_bytes.append(connection.first_byte_at - due)
            idle.append(connection)
        else:
            result.failed[connection.told(is_whole=is_whole)] += 1

    async with asyncio.timeout(seconds + _PATIENCE_SECONDS):
        running = []
        for number in range(max(1, int(calls_per_second * seconds))):
            due = started + number / calls_per_second
            await asyncio.sleep(due - time.perf_counter())
            running.append(asyncio.create_task(run(due)))
        await asyncio.gather(*running)
    for connection in idle:
        connection.close()
    result.seconds = time.perf_counter() - started
    return result


def chat_request(port: int, key: str, body: bytes, *headers: str) -> bytes:
    """Return the bytes of one chat completion request, with more *headers* such as `accept: */*`."""
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        f"host: 127.0.0.1:{port}",
        f"authorization: Bearer {key}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
