"""`make profile`: where a Weir under load spends its CPU time, as a flame graph and as a table."""

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path
from typing import Final

import uvloop

from tests.load.flame_graph import Stack, flame_graph
from tests.load.gateways import ROOT, Setup, be_alone, new_directory, static_upstream, weir
from tests.load.generator import chat_request, load
from tests.load.machine import OTHER_CORES, pin
from tests.load.report import Report
from tests.load.rounds import CONNECTIONS, PLAIN, STREAM

SVG: Final = ROOT / "build" / "profile.svg"
_WARM_UP_SECONDS: Final = 2.0
_WRITING_SECONDS: Final = 30.0
_TOP: Final = 15
_NAME_WIDTH: Final = 80
_LOOP: Final = "runners.py:Runner.run"
"""What runs the event loop; how the process came there is the same in all stacks."""


def main() -> int:
    """Profile as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.flames", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long")
    parser.add_argument("--stream", action="store_true", help="streamed calls in the place of plain ones")
    parser.add_argument("--svg", type=Path, default=SVG, help="where the picture goes")
    arguments = parser.parse_args()
    be_alone()
    kind = "streamed" if arguments.stream else "plain"
    report = Report()
    report.begin("profile", f"Where {kind} calls spend their time", f"{CONNECTIONS} calls at once, everything on.")
    stacks = _sampled(STREAM if arguments.stream else PLAIN, arguments.seconds)
    count = sum(stacks.values())
    _show(report, stacks, count)
    arguments.svg.parent.mkdir(parents=True, exist_ok=True)
    arguments.svg.write_text(flame_graph(stacks, f"Weir, {kind} calls, {count} samples"), "utf-8")
    print(f"\nThe flame graph is in {arguments.svg}.")
    return 0


def _sampled(body: bytes, seconds: float) -> dict[Stack, int]:
    """Return the stacks that were seen in a Weir under load, and how often."""
    with ExitStack() as stack:
        directory = stack.enter_context(new_directory())
        samples = directory / "samples"
        setup = Setup(variables={"SAMPLES": str(samples)}, module="tests.load.sampled")
        gateway = weir(stack, static_upstream(stack), "weir", setup)
        pin(0, OTHER_CORES)
        requests = repeat(chat_request(gateway.port, gateway.key, body))
        uvloop.run(load(gateway.port, requests, connections=CONNECTIONS, seconds=min(_WARM_UP_SECONDS, seconds)))
        os.kill(gateway.pid, signal.SIGUSR1)
        result = uvloop.run(load(gateway.port, requests, connections=CONNECTIONS, seconds=seconds))
        os.kill(gateway.pid, signal.SIGUSR2)
        result.require_success()
        deadline = time.monotonic() + _WRITING_SECONDS
        while not samples.exists():
            assert time.monotonic() < deadline, "nothing was written"
            time.sleep(0.05)
        lines = [line.rpartition(" ") for line in samples.read_text("utf-8").splitlines()]
    stacks: Counter[Stack] = Counter()
    for text, _, count in lines:
        names = text.split(";")
        stacks[tuple(names[names.index(_LOOP) if _LOOP in names else 0 :])] += int(count)
    return stacks


def _show(report: Report, stacks: Mapping[Stack, int], count: int) -> None:
    """Print the functions in which most time was spent."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for stack, seen in stacks.items():
        own[stack[-1]] += seen
        for name in set(stack):
            within[name] += seen
    table = report.table("function", "itself", "with what it calls", first_width=_NAME_WIDTH)
    for name, seen in own.most_common(_TOP):
        table.row(name, f"{seen / count:.1%}", f"{within[name] / count:.1%}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
