"""Gateways under the same load in turn, round after round, so that what disturbs the machine disturbs all of them."""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from typing import NamedTuple

import uvloop

from tests.load.gateways import Gateway
from tests.load.generator import chat_request, load
from tests.load.machine import cpu_seconds
from tests.load.options import Options
from tests.load.report import Report, Table

CONNECTIONS = 32
PLAIN = b'{"model":"sim-small","messages":[{"role":"user","content":"Say hello to everybody."}]}'
STREAM = b'{"model":"sim-small","stream":true,"messages":[{"role":"user","content":"Say hello to everybody."}]}'
BASE_COLUMNS = ("calls/s", "CPU us/call", "core busy", "p50 ms", "p99 ms")

Requests = Callable[[Gateway], Iterator[bytes]]
"""Returns the requests that a gateway gets."""


class Round(NamedTuple):
    """The figures of one round, or the medians of several."""

    calls_per_second: float
    cpu_us: float
    """Of the gateway per call; NaN where it is not known, as is what follows from it."""
    busy: float
    """How much of one core the gateway used; below 1.0 something else was what limited it."""
    p50_ms: float
    p99_ms: float

    def cells(self) -> tuple[str, ...]:
        """Return the cells under BASE_COLUMNS."""
        return (
            f"{self.calls_per_second:.0f}",
            number(self.cpu_us, ".0f"),
            number(self.busy, ".0%"),
            f"{self.p50_ms:.1f}",
            f"{self.p99_ms:.1f}",
        )


def number(value: float, form: str) -> str:
    """Return *value* in that form, `?` where it is not known."""
    return "?" if math.isnan(value) else format(value, form)


def same(body: bytes) -> Requests:
    """Return requests that are all the same, for one gateway after the other."""
    return lambda gateway: repeat(chat_request(gateway.port, gateway.key, body, *gateway.headers))


def measure(gateway: Gateway, requests: Iterator[bytes], seconds: float) -> Round:
    """Load one gateway for a round; raises RuntimeError when a call fails."""
    before = cpu_seconds(gateway.pids)
    result = uvloop.run(load(gateway.port, requests, connections=CONNECTIONS, seconds=seconds)).require_success()
    used = cpu_seconds(gateway.pids) - before
    return Round(
        result.calls / result.seconds,
        used / result.calls * 1e6,
        used / result.seconds,
        result.percentile_ms(0.5),
        result.percentile_ms(0.99),
    )


def alternate(
    report: Report, options: Options, kind: str, loads: Mapping[str, tuple[Gateway, Iterator[bytes]]]
) -> dict[str, Round]:
    """Measure each of *loads* in turn, once to warm up, and return the medians of the other rounds.

    A peer that fails is left out, which *report* gets to know; raises RuntimeError or OSError when Weir fails.
    """
    rounds: dict[str, list[Round]] = {name: [] for name in loads}
    peers = {peer.name for peer in options.peers}
    for index in range(options.rounds + 1):
        for name in list(rounds):
            try:
                figures = measure(*loads[name], options.seconds)
            except (OSError, RuntimeError) as error:
                if name not in peers:
                    raise
                report.say(f"{name} is not among the {kind}: {error}.")
                del rounds[name]
            else:
                rounds[name] += [figures] if index else []
    return {name: Round(*map(statistics.median, zip(*of, strict=True))) for name, of in rounds.items()}


def show(table: Table, medians: Mapping[str, Round], base: str) -> None:
    """Add a row for each, the last cell of which is its cost beside that of *base*."""
    for name, figures in medians.items():
        table.row(name, *figures.cells(), number(figures.cpu_us / medians[base].cpu_us, ".2f"))
