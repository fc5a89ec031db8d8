"""What each part of Weir costs: all on, and then one after the other switched off where settings or rows allow it."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from typing import Final

from tests.load.gateways import Gateway, Setup, bare_relay, static_upstream, weir
from tests.load.generator import chat_request
from tests.load.machine import OTHER_CORES, pin
from tests.load.options import Options
from tests.load.report import Report
from tests.load.rounds import BASE_COLUMNS, PLAIN, alternate, same

TITLE = "What each part costs"
HOW = (
    "Plain calls as above, to several Weirs in turn: one with everything on, and others that each lack one part. Only "
    "what settings or rows can switch off is: keys, ledger, reservations and metrics are always there."
)
_ALL: Final = "everything on"
_NOT_LOGGED: Final = {"WEIR_LOG__LEVEL": "warning"}
_NOT_TRACED: Final = {"WEIR_TRACING__OTLP_ENDPOINT": ""}
_SETUPS: Final = {
    _ALL: Setup(),
    "no budgets": Setup(has_budgets=False),
    "no limits": Setup(has_limits=False),
    "no access log": Setup(variables=_NOT_LOGGED),
    "no tracing": Setup(variables=_NOT_TRACED),
    "every call traced": Setup(variables={"WEIR_TRACING__SAMPLE_RATIO": "1"}),
    "none of these": Setup(has_budgets=False, has_limits=False, variables=_NOT_LOGGED | _NOT_TRACED),
}


def step(report: Report, options: Options) -> None:
    """Measure all of them in turn."""
    with ExitStack() as stack:
        behind = static_upstream(stack)
        loads: dict[str, tuple[Gateway, Iterator[bytes]]] = {}
        for name, setup in _SETUPS.items():
            gateway = weir(stack, behind, name, setup)
            loads[name] = gateway, same(PLAIN)(gateway)
        loads["an Idempotency-Key with each call"] = loads[_ALL][0], _with_keys(loads[_ALL][0])
        relay = bare_relay(stack, behind)
        loads[relay.name] = relay, same(PLAIN)(relay)
        pin(0, OTHER_CORES)
        medians = alternate(report, options, kind := "plain calls", loads)
        base = medians[_ALL].cpu_us
        table = report.table(kind, *BASE_COLUMNS, "CPU us more than everything on")
        for name, figures in medians.items():
            table.row(name, *figures.cells(), f"{figures.cpu_us - base:+.0f}")


def _with_keys(gateway: Gateway) -> Iterator[bytes]:
    """Yield requests that each have a key of their own."""
    for number in count():
        yield chat_request(gateway.port, gateway.key, PLAIN, f"idempotency-key: bench-{number}")
