"""What a call costs, plain and streamed, and how much later its answer comes, beside gateways that do less."""

import math
import os
import statistics
from contextlib import ExitStack

import uvloop

from tests.load.gateways import Behind, Gateway, bare_relay, put_on_its_core, static_upstream, weir
from tests.load.generator import Result, paced, percentile_ms
from tests.load.machine import OTHER_CORES, pin
from tests.load.nginx import nginx
from tests.load.options import Options
from tests.load.report import Report
from tests.load.rounds import BASE_COLUMNS, CONNECTIONS, PLAIN, STREAM, Round, alternate, same, show
from tests.load.upstream import EVENTS

TITLE = "Calls beside gateways that do less"
HOW = (
    f"{CONNECTIONS} calls at once. The gateway has one core; load, upstream, PostgreSQL and Valkey have the others. "
    "CPU is what the operating system charged the gateway's processes for. Everything on: a key of a person, four "
    "budgets that enforce and four limits, all shared by all calls, the ledger, metrics, access log, and one call in a "
    "hundred traced. The bare relay is `tests/load/bare_relay.py`."
)
WEIR, BARE = "weir, everything on", "bare relay"
_SHARES = {"a tenth": 0.1, "a third": 1 / 3}
_ASKED = {"litellm": 40.0, "portkey": 4.0}


def step(report: Report, options: Options) -> None:
    """Compare all gateways."""
    with ExitStack() as stack:
        behind = static_upstream(stack, options.upstream_port)
        gateways = [bare_relay(stack, behind), weir(stack, behind, WEIR)]
        try:
            gateways.insert(0, nginx(stack, behind, is_root=os.geteuid() == 0))
        except (OSError, RuntimeError) as error:
            report.say(f"There is no row for nginx: {error}")
        gateways += [put_on_its_core(each) for each in options.peers]
        pin(0, OTHER_CORES)
        plain = _compare(report, options, gateways, "plain calls", PLAIN)
        stream = _compare(report, options, gateways, f"streams of {EVENTS} events", STREAM)
        _judge(report, options, plain, stream)
        _latency(report, options, behind, gateways, {"plain": plain[WEIR], "streamed": stream[WEIR]})


def _compare(report: Report, options: Options, gateways: list[Gateway], kind: str, body: bytes) -> dict[str, Round]:
    requests = same(body)
    medians = alternate(report, options, kind, {each.name: (each, requests(each)) for each in gateways})
    show(report.table(kind, *BASE_COLUMNS, "beside the bare relay"), medians, BARE)
    return medians


def _judge(report: Report, options: Options, plain: dict[str, Round], stream: dict[str, Round]) -> None:
    """Say what Weir needs beside the others."""
    own, bare = plain[WEIR], plain[BARE]
    share = bare.cpu_us / own.cpu_us
    report.target("plain", f"{share:.2f} times", is_met=share >= 0.7)
    own_stream, bare_stream = stream[WEIR], stream[BARE]
    ratio = own_stream.cpu_us / bare_stream.cpu_us
    report.target("stream", f"{ratio:.2f} times", is_met=ratio <= 1.2)
    report.say(
        f"An event of a stream costs Weir {own_stream.cpu_us / EVENTS:.1f} us of CPU and the bare relay "
        f"{bare_stream.cpu_us / EVENTS:.1f} us, the call's own cost included."
    )
    for each in [each.name for each in options.peers if each.name in plain]:
        times = plain[each].cpu_us / own.cpu_us
        if math.isnan(times):
            report.say(f"How much CPU {each} takes is not known: no process here listens on its port.")
            continue
        report.say(f"{each} needs {times:.1f} times as much for a plain call.")
        for name, asked in _ASKED.items():
            if each.lower().startswith(name):
                report.target(name, f"{times:.1f} times", is_met=times >= asked)


def _latency(
    report: Report, options: Options, behind: Behind, gateways: list[Gateway], capacity: dict[str, Round]
) -> None:
    """Measure answers at steady rates through Weir, and from the upstream itself."""
    [own] = [each for each in gateways if each.name == WEIR]
    direct = Gateway("upstream itself", behind.port)
    table = report.table("added by Weir", "calls/s", "p50 ms", "p99 ms", "first byte p50 ms", "first byte p99 ms")
    for kind, body in (("plain", PLAIN), ("streamed", STREAM)):
        for share, part in _SHARES.items():
            rate = capacity[kind].calls_per_second * part
            rounds: dict[str, list[list[float]]] = {own.name: [], direct.name: []}
            for _ in range(options.rounds):
                for each in (direct, own):
                    result = uvloop.run(paced(each.port, same(body)(each), rate, options.seconds)).require_success()
                    rounds[each.name].append(_percentiles(result))
            here, there = (
                [statistics.median(column) for column in zip(*rounds[each.name], strict=True)] for each in (own, direct)
            )
            added = [one - other for one, other in zip(here, there, strict=True)]
            table.row(f"{kind}, at {share} of capacity", f"{rate:.0f}", *(f"{each:.2f}" for each in added))
            if (kind, share) == ("plain", "a third"):
                is_met = added[0] < 3 and added[1] < 15
                report.target("latency", f"{added[0]:.2f} ms / {added[1]:.2f} ms", is_met=is_met)


def _percentiles(result: Result) -> list[float]:
    return [percentile_ms(of, share) for of in (result.latencies, result.first_bytes) for share in (0.5, 0.99)]
