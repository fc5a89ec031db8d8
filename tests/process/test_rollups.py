"""`weir rollups rebuild` as a person runs it, after `weir doctor` has said what is wrong."""

import asyncio

from tests.fixtures.weir import RunningWeir
from tests.process.conftest import WeirCommand


async def test_totals_that_differ_from_the_ledger_are_found_and_made_anew(
    weir: RunningWeir, weir_command: WeirCommand, external: dict[str, str]
) -> None:
    async with weir.http() as client:
        call = {"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
        assert (await client.post("/v1/chat/completions", json=call)).status_code == 200
    [entry] = await weir.entries()
    await weir.wiring.rollups.roll_up()
    await weir.sql("UPDATE usage_rollups SET cost_nano = cost_nano + 1")

    found = await asyncio.to_thread(weir_command, "doctor", **external)
    day = f"{entry['settled_at']:%Y-%m-%d}"
    rebuilt = await asyncio.to_thread(weir_command, "rollups", "rebuild", "--day", day, **external)
    after = await asyncio.to_thread(weir_command, "doctor", **external)

    assert "weir rollups rebuild --day" in found.output
    assert (rebuilt.status, rebuilt.output) == (0, f"{day}: made anew\n")
    assert "add up" in after.output
    totals = await weir.sql("SELECT DISTINCT cost_nano FROM usage_rollups")
    assert [row[0] for row in totals] == [entry["cost_nano"]]


def test_a_day_that_is_none_is_refused(weir_command: WeirCommand) -> None:
    refused = weir_command("rollups", "rebuild", "--day", "yesterday")

    assert refused.status == 2
    assert "--day" in refused.errors
