"""What an open stream costs the gateway in memory: many at once, each with a few events a second."""

import asyncio
import resource
from contextlib import ExitStack
from typing import NamedTuple

from tests.load.gateways import simulator, weir
from tests.load.generator import chat_request
from tests.load.machine import OTHER_CORES, pin, resident_kib
from tests.load.options import Options
from tests.load.report import Report
from tests.load.rules import KEY

TITLE = "Memory of open streams"
HOW = (
    "Resident memory of Weir's own process, everything on, before and while many streams of three events a second are "
    "open; it has served some before that have ended. They go on until each has brought more than Weir ever keeps of "
    "one."
)
BUDGET_KIB = 60
OPENED_AT_ONCE = 50
_STREAMS_MAX = 1_000
"""As many connections to upstreams as a Weir has by default."""
_LISTENED_ROUNDS = 45
NOISE_KIB = 512
BODY = (
    b'{"model":"sim-small;tokens_per_second=3;output_tokens=1000","stream":true,'
    b'"messages":[{"role":"user","content":"Say hello to everybody, and take your time."}]}'
)


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


async def events_in(streams: list[Open], seconds: float) -> int:
    """Return how many events *streams* bring in so long."""
    count = 0

    async def listen(stream: Open) -> None:
        nonlocal count
        while True:
            await stream.next_event()
            count += 1

    listening = [asyncio.create_task(listen(stream)) for stream in streams]
    await asyncio.wait(listening, timeout=seconds)
    assert not any(task.done() for task in listening), "a stream ended"
    for task in listening:
        task.cancel()
    await asyncio.wait(listening)
    return count


async def settled(pid: int) -> int:
    """Return the memory of *pid* once it hardly changes any more."""
    before, now = -1, resident_kib(pid)
    while abs(now - before) > NOISE_KIB:
        await asyncio.sleep(1.0)
        before, now = now, resident_kib(pid)
    return now


async def measure(port: int, pid: int, report: Report, options: Options) -> None:
    count = min(_STREAMS_MAX, max(10, int(_STREAMS_MAX * options.seconds)))
    seconds = _LISTENED_ROUNDS * options.seconds
    await closed(await opened(port, max(1, count // 10)))
    before = await settled(pid)
    streams = await opened(port, count)
    opened_kib = resident_kib(pid)
    events = await events_in(streams, seconds)
    after = resident_kib(pid)
    await closed(streams)
    each = (after - before) / count
    table = report.table("streams", "events/s", "before MiB", "opened MiB", f"after {seconds:.0f} s MiB", "KiB each")
    figures = (before / 1024, opened_kib / 1024, after / 1024, each)
    table.row(count, f"{events / seconds:.0f}", *(f"{figure:.1f}" for figure in figures))
    report.target("open", f"{each:.1f} KiB", is_met=each < BUDGET_KIB)


def step(report: Report, options: Options) -> None:
    """Measure it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if 0 < most < 8_192 else 8_192, most))  # inherited by the gateway
    with ExitStack() as stack:
        gateway = weir(stack, simulator(stack), "weir")
        pin(0, OTHER_CORES)
        asyncio.run(measure(gateway.port, gateway.pid, report, options))
