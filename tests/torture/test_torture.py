"""The torture run, a minute of it: `make torture` runs longer, with more clients."""

import asyncio
import sys

from tests.torture.report import complaints_text, report
from tests.torture.run import Options, run_torture


async def test_a_minute_of_kills_loses_nothing_doubles_nothing_and_exceeds_no_budget() -> None:
    async with asyncio.timeout(280):
        outcome = await run_torture(Options(seed=20, seconds=50, clients=16, gateways=2), _say)
    _say(report(outcome))
    assert not outcome.verdict.findings, complaints_text(outcome.verdict)
    # And something was there to be lost.
    assert set(outcome.blows) >= {"gateway", "postgres", "valkey"}
    met = {seen.code or seen.fate for seen in outcome.evidence.seen}
    assert {"answered", "left", "insufficient_quota", "service_unavailable"} <= met
    assert {charge.last.ending for charge in outcome.verdict.charges} >= {
        "settled",
        "estimated",
        "released",
        "orphaned",
    }


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
