"""What a call costs, beside a bare relay that does nothing, in alternating rounds of one run.

Loopback only, about two minutes. The gateway has one core, load, upstream and servers the other, where the system can
pin. CPU per call is what the operating system charged the gateway's process for it.
"""

import argparse
import statistics
from contextlib import ExitStack
from typing import NamedTuple
from urllib.parse import urlsplit

import uvloop

from tests.load.gateways import KEY, OTHER_CORE, Gateway, bare_relay, cpu_seconds, pin, process, simulator, weir
from tests.load.gateways import free_port as free_port  # noqa: PLC0414 - other benches get it from here
from tests.load.generator import Result, chat_request, load, paced

CONNECTIONS = 32
ROUND_SECONDS = 3.0
ROUNDS = 5
BODIES = {
    "plain": b'{"model":"sim-small;output_tokens=50","messages":[{"role":"user","content":"Say hello to everybody."}]}',
    "stream": b'{"model":"sim-small;output_tokens=100","stream":true,"messages":[{"role":"user","content":"Hello."}]}',
}
WEIR = "weir, everything on"
__all__ = ["KEY", "free_port", "process"]


class Round(NamedTuple):
    """The figures of one round."""

    calls_per_second: float
    cpu_us_per_call: float
    p50_ms: float
    p99_ms: float


def measure(gateway: Gateway, body: bytes) -> Round:
    """Load one gateway for a round."""
    before = 0.0 if gateway.pid is None else cpu_seconds(gateway.pid)
    request = chat_request(gateway.port, gateway.key, body)
    result: Result = uvloop.run(load(gateway.port, request, connections=CONNECTIONS, seconds=ROUND_SECONDS))
    assert result.failures == 0, f"{result.failures} calls of {gateway.name} failed"
    after = 0.0 if gateway.pid is None else cpu_seconds(gateway.pid)
    cpu_us = (after - before) / result.calls * 1e6
    return Round(result.calls / result.seconds, cpu_us, result.percentile_ms(0.5), result.percentile_ms(0.99))


def compare(gateways: list[Gateway], kind: str) -> dict[str, Round]:
    """Load each in turn, print the medians, and return them."""
    rounds: dict[str, list[Round]] = {gateway.name: [] for gateway in gateways}
    for number in range(ROUNDS + 1):
        for gateway in gateways:
            figures = measure(gateway, BODIES[kind])
            if number:  # the first round warms up
                rounds[gateway.name].append(figures)
    medians = {name: Round(*map(statistics.median, zip(*of, strict=True))) for name, of in rounds.items()}
    print(f"{kind:>24} {'calls/s':>9} {'CPU us/call':>12} {'p50 ms':>8} {'p99 ms':>8}")
    for name, (rate, cpu_us, p50_ms, p99_ms) in medians.items():
        print(f"{name:>24} {rate:>9.0f} {cpu_us:>12.0f} {p50_ms:>8.1f} {p99_ms:>8.1f}")
    bare, own = medians["bare relay"].cpu_us_per_call, medians[WEIR].cpu_us_per_call
    print(f"With everything on, Weir needs {own / bare:.2f} times the bare relay's CPU per call.\n")
    return medians


def added_latency(upstream: Gateway, gateway: Gateway, capacity: float) -> None:
    """Print how much later answers come through *gateway* than directly, at a third of what it can do."""
    rate = capacity / 3
    print(f"{f'plain, {rate:.0f} calls/s':>24} {'p50 ms':>8} {'p99 ms':>8}")
    found = []
    for each in (upstream, gateway):
        request = chat_request(each.port, each.key, BODIES["plain"])
        rounds: list[Result] = [uvloop.run(paced(each.port, request, rate, ROUND_SECONDS)) for _ in range(ROUNDS)]
        assert not any(result.failures for result in rounds), f"calls of {each.name} failed"
        p50, p99 = (statistics.median(result.percentile_ms(share) for result in rounds) for share in (0.5, 0.99))
        found.append((p50, p99))
        print(f"{each.name:>24} {p50:>8.2f} {p99:>8.2f}")
    (p50, p99), (own_p50, own_p99) = found
    print(f"Weir adds {own_p50 - p50:.2f} ms at the median and {own_p99 - p99:.2f} ms at the 99th percentile.\n")


def peer(text: str) -> Gateway:
    """Return the gateway that `NAME=URL,KEY` describes; raises ValueError."""
    name, _, rest = text.partition("=")
    url, _, key = rest.partition(",")
    address = urlsplit(url)
    if not name or not key or address.hostname != "127.0.0.1" or address.port is None:
        raise ValueError("a peer is NAME=http://127.0.0.1:PORT,KEY")
    return Gateway(name, address.port, key)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    peer_help = "another gateway on loopback that serves /v1/chat/completions for sim-small; its CPU is not measured"
    parser.add_argument("--peer", action="append", default=[], type=peer, metavar="NAME=URL,KEY", help=peer_help)
    peers: list[Gateway] = parser.parse_args().peer
    with ExitStack() as stack:
        upstream = simulator(stack)
        gateways = [
            bare_relay(stack, upstream),
            weir(stack, upstream, "weir, no rules", with_rules=False),
            weir(stack, upstream, WEIR, with_rules=True),
            *peers,
        ]
        pin(0, OTHER_CORE)
        print(f"{CONNECTIONS} calls at once, one core for the gateway, medians of {ROUNDS} rounds.")
        print("Everything: three budgets and three limits that all calls share, ledger, metrics, access log.\n")
        medians = compare(gateways, "plain")
        compare(gateways, "stream")
        direct = Gateway("upstream itself", urlsplit(upstream).port or 0)
        added_latency(direct, gateways[2], medians[WEIR].calls_per_second)


if __name__ == "__main__":
    main()
