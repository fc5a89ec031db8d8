"""One day's check against a real ledger and the simulator's account."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import structlog

from app.core.clock import utc_now
from app.core.db import DatabaseUnavailable
from app.core.money import Nano
from app.reconciliation import repository
from app.reconciliation.comparison import compare
from app.reconciliation.failure import DayNotBegun, ProviderFailed
from app.settings import Settings
from tests.fixtures.own_servers import OwnServer
from tests.fixtures.weir import RunningWeir
from tests.ledger.conftest import open_database
from tests.reconciliation.conftest import DAY, MIDNIGHT, MODEL, Books, Provider, entry, json_answer, page

ONE = 1_000_000_000
SECOND = timedelta(seconds=1)


async def logged(books: Books, **settings: Any) -> dict[str, Any]:
    """Check the day and return the one line that was logged."""
    with structlog.testing.capture_logs() as lines:
        await books.service(**settings).check(DAY)
    (line,) = lines
    return dict(line)


async def test_equal_books_are_stored_and_logged_as_such(books: Books) -> None:
    await books.owe(entry(ONE), entry(ONE // 2))
    books.charge(f"{MODEL}, input", "0.5")
    books.charge(f"{MODEL}, output", "1")
    assert await logged(books) == {
        "event": "reconciled",
        "log_level": "info",
        "day": "2031-05-10",
        "upstream": "openai",
        "ledger_usd": "1.5",
        "provider_usd": "1.5",
    }
    assert await books.rows() == [(DAY, "", 0, 0, 0), (DAY, MODEL, 15 * ONE // 10, 15 * ONE // 10, 0)]


async def test_a_difference_is_stored_and_warned_of(books: Books) -> None:
    await books.owe(entry(ONE), entry(3, answered_model="only here"))
    books.charge(f"{MODEL}, input", "3.25")
    books.charge("web search", "0.02")
    line = await logged(books)
    assert (line["event"], line["log_level"]) == ("reconciliation_differs", "warning")
    assert (line["ledger_usd"], line["provider_usd"]) == ("1.000000003", "3.27")
    assert line["differing_line_items"] == 2
    assert (line["worst_line_item"], line["worst_difference_usd"]) == (MODEL, "2.25")
    assert await books.rows() == [
        (DAY, "", 0, 0, 0),
        (DAY, MODEL, ONE, 325 * ONE // 100, 225 * ONE // 100),
        (DAY, "only here", 3, 0, -3),
        (DAY, "web search", 0, 20_000_000, 20_000_000),
    ]


@pytest.mark.parametrize(("usd", "event"), [("1.01", "reconciled"), ("1.010000001", "reconciliation_differs")])
async def test_what_is_tolerated_is_no_warning(books: Books, usd: str, event: str) -> None:
    await books.owe(entry(ONE))
    books.charge(MODEL, usd)
    assert (await logged(books, tolerance_usd=Decimal("0.01")))["event"] == event
    assert (await books.rows())[1][4] != 0


async def test_estimates_orphans_and_corrections_count_like_any_entry(books: Books) -> None:
    orphan = entry(900, ending="orphaned", outcome="process_died", answered_model=None, model=MODEL)
    correction = orphan._replace(settled_at=MIDNIGHT + SECOND, cost_nano=Nano(-400), flags=("correction",))
    await books.owe(entry(100, ending="estimated", outcome="client_left"), orphan, correction)
    books.charge(MODEL, "0.0000006")
    await books.service().check(DAY)
    assert (await books.rows())[1] == (DAY, MODEL, 600, 600, 0)


async def test_other_upstreams_and_models_without_costs_are_left_out(books: Books) -> None:
    refused = entry(0, answered_model=None, model="invented", ending="released", outcome="upstream_refused")
    await books.owe(entry(5, upstream="simulator"), refused)
    await books.service().check(DAY)
    assert await books.rows() == [(DAY, "", 0, 0, 0)]


async def test_a_day_is_from_midnight_to_midnight_in_utc(books: Books) -> None:
    last = MIDNIGHT + timedelta(days=1) - timedelta(microseconds=1)
    moments = (MIDNIGHT - timedelta(microseconds=1), MIDNIGHT, last, MIDNIGHT + timedelta(days=1))
    await books.owe(*(entry(10**number, moment) for number, moment in enumerate(moments)))
    for number, moment in enumerate(moments):
        books.charge(MODEL, str(Decimal(10**number).scaleb(-9)), moment)
    await books.service().check(DAY)
    assert (await books.rows())[1] == (DAY, MODEL, 110, 110, 0)


async def test_the_newest_check_takes_the_place_of_the_days_last_one(books: Books) -> None:
    await books.owe(entry(7))
    books.charge("gone tomorrow", "1")
    await books.service().check(DAY)
    books.simulator.account.reset()
    books.now += timedelta(hours=1)
    await books.service().check(DAY)
    assert await books.rows() == [(DAY, "", 0, 0, 0), (DAY, MODEL, 7, 0, -7)]


async def test_a_check_that_comes_late_leaves_a_newer_one_alone(books: Books) -> None:
    await books.owe(entry(7))
    newer = await books.service().check(DAY)
    older = newer._replace(checked_at=newer.checked_at - SECOND, lines=compare({"other": 1}, []))
    async with books.db.transaction() as tx:
        assert not await repository.replace_day(tx, older)
    assert [row[1] for row in await books.rows()] == ["", MODEL]


async def test_checks_at_the_same_time_leave_one_row_for_each_item(books: Books, provider: Provider) -> None:
    await books.owe(entry(7))
    answers = iter([page([("a", 1), ("b", 2)]), page([("b", 3), ("c", 4)])])
    provider.answer = lambda _: json_answer(next(answers))
    service = books.service(provider.base_url)
    async with asyncio.timeout(30):
        await asyncio.gather(service.check(DAY), service.check(DAY))
    names = [row[1] for row in await books.rows()]
    assert names in (["", "a", "b", MODEL], ["", "b", "c", MODEL])


async def test_a_day_that_has_not_begun_is_refused_without_asking_anybody(books: Books, provider: Provider) -> None:
    books.now = MIDNIGHT - timedelta(microseconds=1)
    with pytest.raises(DayNotBegun, match=r"2031-05-10 has not begun; today is 2031-05-09, in UTC"):
        await books.service(provider.base_url).check(DAY)
    assert provider.lines == []
    books.now = MIDNIGHT
    await books.service(provider.base_url).check(DAY)


async def test_a_provider_that_fails_changes_nothing(books: Books) -> None:
    books.charge(MODEL, "1")
    await books.service().check(DAY)
    before = await books.rows()
    books.charge(MODEL, "1")
    with pytest.raises(ProviderFailed):
        await books.service(key="sk-wrong").check(DAY)
    assert await books.rows() == before


async def test_without_a_database_the_check_fails_as_such(
    books: Books, own_postgres: OwnServer, own_settings: Settings
) -> None:
    own_postgres.kill()
    away = open_database(own_settings, connect_timeout_seconds=0.5)
    try:
        with pytest.raises(DatabaseUnavailable):
            await Books(away, books.simulator, books.base_url).service().check(DAY)
    finally:
        await away.close()


async def test_calls_through_weir_cost_what_the_simulator_charges(weir: RunningWeir, books: Books) -> None:
    model = "gpt-4o-mini-2024-07-18;cached_tokens=3"
    ask: dict[str, Any] = {"messages": [{"role": "user", "content": "What is a weir?"}]}
    async with weir.openai() as client:
        await client.chat.completions.create(model=model, **ask)
        await client.chat.completions.create(model="sim-small", **ask)
        async for _ in await client.chat.completions.create(model="sim-small", stream=True, **ask):
            pass
    entries = await weir.entries()
    weir.simulator.account.costs.add("sim-small, output", Decimal("1.25"), int(utc_now().timestamp()))
    books.now = utc_now()
    check = await books.service().check(entries[0]["settled_at"].date())
    assert {line.line_item: line.difference_nano for line in check.lines} == {
        "": 0,
        MODEL: 0,
        "sim-small": 125 * ONE // 100,
    }
    assert check.total.ledger_nano == sum(entry["cost_nano"] for entry in entries) > 0
