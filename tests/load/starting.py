"""How long Weir takes to start, as `make run` starts it, and what it takes of memory before the first call."""

import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from tests.fixtures.ports import free_port
from tests.load.gateways import (
    Behind,
    is_ready,
    new_directory,
    python,
    spawn,
    static_upstream,
    stop,
    wait_until_up,
    weir_variables,
)
from tests.load.machine import ALL_CORES, pin, proportional_kib, resident_kib, servers_in
from tests.load.options import Options
from tests.load.report import Report
from tests.process.weir_process import environment

TITLE = "Start and memory at rest"
HOW = (
    "`weir serve` with the PostgreSQL and the Valkey that it brings along, from its start until `/readyz` answers 200; "
    "on all cores. Resident memory (RSS) counts what processes share in each of them, the proportional set size (PSS) "
    "once. Two seconds after the start, nothing called yet."
)
_STARTS_MAX: Final = 3
_REST_SECONDS: Final = 2.0


class Start(NamedTuple):
    """One start, and what was there when it was done."""

    ready_seconds: float
    stop_seconds: float
    gateway_kib: int
    gateway_proportional_kib: int | None
    servers_proportional_kib: int | None


def step(report: Report, options: Options) -> None:
    """Start it several times in new directories, and in those again."""
    pin(0, ALL_CORES)
    with ExitStack() as stack:
        behind = static_upstream(stack)
        first, again, traced = [], [], []
        for _ in range(min(options.rounds, _STARTS_MAX)):
            with new_directory() as directory:
                first.append(_start(directory, behind, rest_seconds=0, is_traced=False))
                again.append(_start(directory, behind, rest_seconds=_REST_SECONDS, is_traced=False))
                traced.append(_start(directory, behind, rest_seconds=_REST_SECONDS, is_traced=True))
    table = report.table("start", "ready s", "stopped s")
    for name, starts in (("first, with an empty directory", first), ("later", again), ("later, traced", traced)):
        table.row(name, *(f"{_median(starts, each):.2f}" for each in ("ready_seconds", "stop_seconds")))
    seconds = _median(again, "ready_seconds")
    report.target("start", f"{seconds:.2f} s (the first {_median(first, 'ready_seconds'):.2f} s)", is_met=seconds < 3)
    table = report.table("at rest", "RSS MiB", "PSS MiB", "PSS of its servers MiB")
    names = ("gateway_kib", "gateway_proportional_kib", "servers_proportional_kib")
    for name, starts in (("weir", again), ("weir, traced", traced)):
        table.row(name, *(_mebibytes(_median(starts, each)) for each in names))
    kib = _median(traced, "gateway_kib")
    report.target("idle", f"{kib / 1024:.0f} MiB", is_met=kib < 120 * 1024)


def _start(directory: Path, behind: Behind, *, rest_seconds: float, is_traced: bool) -> Start:
    """Start Weir in *directory*, look at it, and end it."""
    port = free_port()
    variables = weir_variables(directory, behind)
    if not is_traced:
        del variables["WEIR_TRACING__OTLP_ENDPOINT"]
    settings = environment(directory, **variables)
    settings.pop("PYTHONDONTWRITEBYTECODE", None)  # as it is where Weir is installed: compiled once, at the first start
    log = directory / "start.log"
    with log.open("wb") as output:
        begun = time.monotonic()
        child = spawn(python("app", "serve", "--port", port), settings, output)
    try:
        wait_until_up(child, port, is_ready, log)
        ready = time.monotonic()
        time.sleep(rest_seconds)
        servers = proportional_kib(servers_in(f"{directory}/"))
        memory = resident_kib(child.pid), proportional_kib([child.pid]), servers
    finally:
        stopping = time.monotonic()
        stop(child)
    return Start(ready - begun, time.monotonic() - stopping, *memory)


def _median(starts: list[Start], name: str) -> float:
    """Return the median of what is called *name*; less than 0 where it is not known."""
    return statistics.median(-1 if (value := getattr(start, name)) is None else value for start in starts)


def _mebibytes(kib: float) -> str:
    return "?" if kib < 0 else f"{kib / 1024:.0f}"
