"""`make soak`: a steady load for a while, and a look at what grows meanwhile and at the books afterwards.

Exit status 1 when memory grows by more than the bound, when descriptors stay open, when calls end otherwise than they
should, or when ledger and simulator do not have the same calls.
"""

import argparse
import asyncio
import statistics
import sys
import time
from contextlib import ExitStack
from itertools import repeat
from typing import Final, NamedTuple

import uvloop

from tests.load.bookkeeping import Books
from tests.load.gateways import Behind, Gateway, be_alone, simulator, weir
from tests.load.generator import chat_request, load, percentile_ms
from tests.load.machine import OTHER_CORES, cpu_seconds, descriptors, pin, resident_kib, threads
from tests.load.mixture import Mixture
from tests.load.plot import picture, slope
from tests.load.report import Report
from tests.load.rounds import PLAIN, STREAM

_HOW: Final = (
    "Weir with everything on, at a third of what it can do: of twenty calls twelve are plain, five are streams, two "
    "are streams that the client abandons, and one fails upstream. Memory is resident (RSS); latencies are of plain "
    "calls, 20 ms of which are the upstream's."
)
_SAMPLES_MIN: Final = 12
_SAMPLE_SECONDS_MAX: Final = 10.0
_CAPACITY_SECONDS: Final = 3.0
_PROBE_CALLS_PER_SECOND: Final = 300
_PEAK_CONNECTIONS: Final = 600
"""More than pile up when the machine stalls: what such a peak leaves in memory is there before it is watched."""
_WARM_UP: Final = 0.2
"""The share of the samples that does not count."""
_DESCRIPTORS_MORE: Final = 20
"""Pools grow a little; one that leaks with any kind of call has thousands."""
_REST_SECONDS: Final = 20.0


class Sample(NamedTuple):
    """What was seen at one moment."""

    at_seconds: float
    memory_mib: float
    descriptors: int
    connections: int
    threads: int
    p50_ms: float
    p99_ms: float


class Bounds(NamedTuple):
    """How long it goes on, and what is too much."""

    seconds: float
    memory_mib: float
    """By how much memory may grow from the end of the warm-up to the end."""


def main() -> int:
    """Run it as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=900.0, help="how long")
    parser.add_argument("--memory-mib", type=float, default=8.0, help="by how much memory may grow after warming up")
    arguments = parser.parse_args()
    be_alone()
    report = Report()
    report.begin("soak", "A soak", _HOW)
    with ExitStack() as stack:
        behind = simulator(stack)
        gateway = weir(stack, behind, "weir")
        pin(0, OTHER_CORES)
        bounds = Bounds(arguments.seconds, arguments.memory_mib)
        complaints = uvloop.run(soak(report, behind, gateway, bounds))
    for complaint in complaints:
        print(f"NOT as it should be: {complaint}")
    if not complaints:
        print("Nothing leaks, and the books are right.")
    return 1 if complaints else 0


async def soak(report: Report, behind: Behind, gateway: Gateway, bounds: Bounds) -> list[str]:
    """Load *gateway* and look at it; return what is wrong with it."""
    seconds = min(_CAPACITY_SECONDS, bounds.seconds / 4)
    for body in (PLAIN, STREAM):
        peak = repeat(chat_request(gateway.port, gateway.key, body))
        burst = await load(gateway.port, peak, connections=_PEAK_CONNECTIONS, seconds=seconds)
        burst.require_success()
    cost_seconds = await _cost(gateway, seconds)
    rate = 1 / cost_seconds / 3
    report.say(
        f"A call costs {cost_seconds * 1e6:.0f} us of CPU: it can do {3 * rate:.0f} calls/s, and gets {rate:.0f}."
    )
    books = Books(behind.upstream, gateway)
    mixture = Mixture(gateway.port, gateway.key)
    samples = await _observe(report, gateway, mixture, books, rate, bounds.seconds)
    await mixture.close()
    complaints = [f"{count} calls: {what}" for what, count in mixture.odd.items()]
    complaints += await books.complaints()
    complaints += await _judge_descriptors(gateway, samples[0].descriptors)
    counted = samples[int(len(samples) * _WARM_UP) :]
    complaints += _judge_memory(report, counted, bounds.memory_mib)
    _draw(report, samples, counted)
    sent = ", ".join(f"{count:,} {name}" for name, count in mixture.sent.most_common())
    report.say(f"Sent: {sent}. In the ledger and in the simulator's account: {books.calls:,} calls.")
    return complaints


async def _cost(gateway: Gateway, seconds: float) -> float:
    """Return how many seconds of CPU a call of the mixture costs, while as many come as share groups now and then."""
    mixture = Mixture(gateway.port, gateway.key)
    before = cpu_seconds(gateway.pids)
    await mixture.send(_PROBE_CALLS_PER_SECOND, seconds)
    await mixture.close()
    return (cpu_seconds(gateway.pids) - before) / mixture.sent.total()


async def _observe(
    report: Report, gateway: Gateway, mixture: Mixture, books: Books, rate: float, seconds: float
) -> list[Sample]:
    """Send calls for so long, and look at the process now and then."""
    names = ("memory MiB", "open files", "connections", "threads", "p50 ms", "p99 ms")
    table = report.table("seconds", *names)
    interval = min(_SAMPLE_SECONDS_MAX, seconds / _SAMPLES_MIN)
    samples: list[Sample] = []
    started = time.monotonic()
    sending = asyncio.create_task(mixture.send(rate, seconds))
    while not sending.done():
        await asyncio.wait([sending], timeout=interval)
        latencies, mixture.latencies = mixture.latencies, []
        opened, connected = descriptors(gateway.pid)
        sample = Sample(
            time.monotonic() - started,
            resident_kib(gateway.pid) / 1024,
            opened,
            connected,
            threads(gateway.pid),
            percentile_ms(latencies, 0.5),
            percentile_ms(latencies, 0.99),
        )
        samples.append(sample)
        figures = (sample.memory_mib, sample.p50_ms, sample.p99_ms)
        memory, p50, p99 = (f"{figure:.1f}" for figure in figures)
        table.row(f"{sample.at_seconds:.0f}", memory, opened, connected, sample.threads, p50, p99)
        await books.read()
    await sending
    return samples


async def _judge_descriptors(gateway: Gateway, at_start: int) -> list[str]:
    """Return what is wrong with the number of open files; connections that are kept a while have time to be closed."""
    deadline = time.monotonic() + _REST_SECONDS
    while (now := descriptors(gateway.pid)[0]) > at_start + _DESCRIPTORS_MORE:
        if time.monotonic() > deadline:
            return [f"{now} files are open, and {at_start} were at the start"]
        await asyncio.sleep(0.25)
    return []


def _judge_memory(report: Report, counted: list[Sample], bound_mib: float) -> list[str]:
    """Say how memory and latency went after the warm-up; return what is wrong."""
    at = [sample.at_seconds for sample in counted]
    seconds = at[-1] - at[0]
    grown = slope(at, [sample.memory_mib for sample in counted]) * seconds
    third = max(1, len(counted) // 3)
    early, late = (statistics.median(each.p50_ms for each in part) for part in (counted[:third], counted[-third:]))
    report.say(
        f"After the warm-up memory grew by {grown:.2f} MiB in {seconds:.0f} s, by the line that fits best; more than "
        f"{bound_mib:g} MiB would be too much. The median latency was {early:.1f} ms in the first third and "
        f"{late:.1f} ms in the last."
    )
    return [f"memory grew by {grown:.2f} MiB in {seconds:.0f} s"] if grown > bound_mib else []


def _draw(report: Report, samples: list[Sample], counted: list[Sample]) -> None:
    for name, column in (("memory, MiB", "memory_mib"), ("open files", "descriptors")):
        print(f"{name}\n{picture([getattr(sample, column) for sample in samples])}\n")
    for name, column in (("p50, ms, after the warm-up", "p50_ms"), ("p99, ms, after the warm-up", "p99_ms")):
        print(f"{name}\n{picture([getattr(sample, column) for sample in counted])}\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
