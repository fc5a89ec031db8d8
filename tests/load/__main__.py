"""`make bench`: runs every step, shows what it finds, and keeps it in docs/performance.md.

Exit status 1 when a step could not be measured; a target that is not met is said, and is no failure.
"""

import argparse
import importlib
import sys
import time
from datetime import UTC
from pathlib import Path
from types import ModuleType
from typing import Final

from app.core.clock import utc_now
from tests.load.gateways import ROOT, be_alone
from tests.load.machine import ALL_CORES, description, pin
from tests.load.options import Options, add_options, options_of
from tests.load.page import page
from tests.load.report import TARGETS, Report

PAGE: Final = ROOT / "docs" / "performance.md"
STEPS: Final = ("calls", "parts", "money", "limits", "starting", "streams", "growth", "black_hole")
"""Modules beside this one, imported once they are needed: each has a TITLE, says HOW it measures, and a `step`."""


def main() -> int:
    """Measure what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    add_options(parser)
    parser.add_argument("--only", action="append", choices=STEPS, help="a step; may be repeated; all by default")
    parser.add_argument("--page", type=Path, help="where to keep it; unless --only is given, docs/performance.md")
    arguments = parser.parse_args()
    options = options_of(arguments)
    be_alone()
    started = time.monotonic()
    report = Report()
    for name in arguments.only or STEPS:
        measure(report, options, name, importlib.import_module(f"tests.load.{name}"))
    show_targets(report)
    print(f"{time.monotonic() - started:.0f} s altogether.")
    target: Path | None = arguments.page or (None if arguments.only else PAGE)
    if target is not None and not report.is_complete:
        print(f"{target} is left as it is, as not everything could be measured.")
    elif target is not None:
        target.write_text(page(report, options, description(), utc_now().astimezone(UTC)), "utf-8")
        print(f"Kept in {target}.")
    return 0 if report.is_complete else 1


def measure(report: Report, options: Options, name: str, step: ModuleType) -> None:
    """Run one step; what goes wrong is said, and does not stop the others."""
    report.begin(name, step.TITLE, step.HOW)
    pin(0, ALL_CORES)
    started = time.monotonic()
    try:
        step.step(report, options)
    except Exception as error:  # noqa: BLE001 - any: the other steps' figures are worth having
        report.fail(error)
    print(f"({time.monotonic() - started:.0f} s)")


def show_targets(report: Report) -> None:
    """Print how far Weir is from each target that was measured."""
    for name, measured in report.measured.items():
        what, wanted = TARGETS[name]
        print(f"{what}: {measured.text}, wanted {wanted}: {'met' if measured.is_met else 'NOT met'}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
