"""`make torture`: runs it, prints the tables, keeps them in docs/reliability.md; exit status 1 for a broken promise."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from app.core.clock import utc_now
from tests.torture.report import complaints_text, report
from tests.torture.run import Options, run_torture

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
_BEGIN, _END = "<!-- torture: begin -->\n", "<!-- torture: end -->\n"


def main() -> int:
    """Run it as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="what is drawn: blows and calls")
    parser.add_argument("--seconds", type=float, default=600, help="how long clients call")
    parser.add_argument("--clients", type=int, default=40, help="how many call at the same time")
    parser.add_argument("--gateways", type=int, default=2, help="processes of Weir")
    parser.add_argument("--logs", type=Path, help="a directory to keep the processes' logs in")
    parser.add_argument("--write", action="store_true", help=f"keep the tables in docs/{PAGE.name}")
    arguments = parser.parse_args()
    options = Options(arguments.seed, arguments.seconds, arguments.clients, arguments.gateways, arguments.logs)
    outcome = asyncio.run(run_torture(options, _say))
    text = report(outcome)
    _say(f"\n{text}\n")
    if arguments.write:
        keep(text, utc_now().astimezone(UTC))
    if outcome.verdict.findings:
        _say(complaints_text(outcome.verdict))
        return 1
    _say("Every promise was kept.")
    return 0


def keep(text: str, now: datetime) -> None:
    """Put the tables between the page's marks."""
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    PAGE.write_text(f"{before}{_BEGIN}\nRun on {now:%Y-%m-%d}:\n\n{text}\n\n{_END}{after}", "utf-8")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
