"""What an open stream costs the gateway in memory: many at once, each with a few events a second."""

import asyncio
import resource
from contextlib import ExitStack
from typing import NamedTuple

from tests.load.gateways import Gateway, simulator, weir
from tests.load.generator import Connection, chat_request, connect
from tests.load.machine import OTHER_CORES, pin, resident_kib
from tests.load.options import Options
from tests.load.report import Report
from tests.load.rounds import PLAIN
from tests.load.rules import KEY

TITLE = "Memory of open connections"
HOW = (
    "Resident memory of Weir's own process, everything on, before and while many connections are open. Some of them "
    "are idle: each has brought one plain answer, and its client keeps it. The others bring streams, until each has "
    "brought more than Weir ever keeps of one; some that have ended were served before. Most is the largest that was "
    "seen."
)
BUDGET_KIB = 60
OPENED_AT_ONCE = 50
IDLE, STREAMS = 1_000, 500
_EVENTS_PER_SECOND = 16
_EVENTS = 600
"""Of each stream, about 200 bytes each: Weir keeps no more than six times 12 KiB, five of them compressed."""
NOISE_KIB = 512
BODY = (
    b'{"model":"sim-small;tokens_per_second=%d;output_tokens=%d","stream":true,'
    b'"messages":[{"role":"user","content":"Say hello to everybody, and take your time."}]}'
) % (_EVENTS_PER_SECOND, 2 * _EVENTS)


class Open(NamedTuple):
    """An open stream."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def next_event(self) -> bytes:
        """Return the next event; the first comes with the answer's head."""
        async with asyncio.timeout(60):
            return await self.reader.readuntil(b"\n\n")


async def opened(port: int, count: int) -> list[Open]:
    """Open *count* streams, a few at a time; each has sent its first event."""
    request = chat_request(port, KEY, BODY)
    places = asyncio.Semaphore(OPENED_AT_ONCE)

    async def one() -> Open:
        async with places:
            stream = Open(*await asyncio.open_connection("127.0.0.1", port, limit=16_384))
            stream.writer.write(request)
            head = await stream.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            await stream.next_event()
            return stream

    return await asyncio.gather(*(one() for _ in range(count)))


async def closed(streams: list[Open]) -> None:
    for stream in streams:
        stream.writer.close()
    await asyncio.gather(*(stream.writer.wait_closed() for stream in streams), return_exceptions=True)


async def kib_while_they_bring(streams: list[Open], pid: int) -> tuple[int, int]:
    """Return the most memory that *pid* has until each of *streams* has brought its events, and how much each brought.

    Both in KiB.
    """
    most_kib = size = 0

    async def listen(stream: Open) -> None:
        nonlocal size
        for _ in range(_EVENTS):
            event = await stream.next_event()
            size += len(event)

    waiting = {asyncio.create_task(listen(stream)) for stream in streams}
    while waiting:
        done, waiting = await asyncio.wait(waiting, timeout=1.0)
        most_kib = max(most_kib, resident_kib(pid))
        for task in done:
            task.result()
    return most_kib, size // len(streams) // 1024


async def settled(pid: int) -> int:
    """Return the memory of *pid* once it hardly changes any more."""
    before, now = -1, resident_kib(pid)
    while abs(now - before) > NOISE_KIB:
        await asyncio.sleep(1.0)
        before, now = now, resident_kib(pid)
    return now


async def measure_streams(gateway: Gateway, report: Report) -> None:
    await closed(await opened(gateway.port, STREAMS // 10))
    before = await settled(gateway.pid)
    streams = await opened(gateway.port, STREAMS)
    opened_kib = resident_kib(gateway.pid)
    most_kib, brought_kib = await kib_while_they_bring(streams, gateway.pid)
    await closed(streams)
    each = (most_kib - before) / STREAMS
    table = report.table("open streams", "KiB brought by each", "before MiB", "opened MiB", "most MiB", "KiB each")
    figures = (before / 1024, opened_kib / 1024, most_kib / 1024, each)
    table.row(STREAMS, brought_kib, *(f"{figure:.1f}" for figure in figures))
    report.target("open", f"{each:.1f} KiB", is_met=each < BUDGET_KIB)


async def measure_idle(gateway: Gateway, report: Report) -> None:
    request = chat_request(gateway.port, KEY, PLAIN)
    places = asyncio.Semaphore(OPENED_AT_ONCE)

    async def one() -> Connection:
        async with places:
            connection = await connect(gateway.port)
            assert await connection.call(request), connection.told(is_whole=False)
            return connection

    for connection in [await one() for _ in range(OPENED_AT_ONCE)]:
        connection.close()
    before = await settled(gateway.pid)
    connections = await asyncio.gather(*(one() for _ in range(IDLE)))
    after = await settled(gateway.pid)
    assert all(connection.is_alive for connection in connections), "an idle connection was closed"
    for connection in connections:
        connection.close()
    table = report.table("idle connections", "before MiB", "opened MiB", "KiB each")
    table.row(IDLE, f"{before / 1024:.1f}", f"{after / 1024:.1f}", f"{(after - before) / IDLE:.1f}")


def step(report: Report, _options: Options) -> None:
    """Measure it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if 0 < most < 8_192 else 8_192, most))  # inherited by the gateway
    for measure in (measure_idle, measure_streams):
        with ExitStack() as stack:
            gateway = weir(stack, simulator(stack), "weir")
            pin(0, OTHER_CORES)
            asyncio.run(measure(gateway, report))
