"""The check of every day: when it is due, by whom it is done, what is shown of it."""

import asyncio
import contextlib
from datetime import date, datetime, timedelta
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from app.observability.metrics import Metrics
from app.reconciliation import daily_service
from app.reconciliation.daily_service import DailyReconciliation
from app.reconciliation.failure import ProviderFailed
from app.settings import Settings
from tests.fixtures.waiting import until
from tests.fixtures.weir import UPSTREAM_KEY, StartWeir
from tests.ledger.conftest import open_database
from tests.reconciliation.conftest import MIDNIGHT, MODEL, Books, Provider, entry, json_answer, page

HOUR = timedelta(hours=1)
DAYS = [date(2031, 5, 8), date(2031, 5, 9), date(2031, 5, 10)]


class Process:
    """What one process has of the daily check."""

    def __init__(self, books: Books, base_url: str | None = None, key: str = UPSTREAM_KEY) -> None:
        self.metrics = Metrics(CollectorRegistry())
        service = books.service(base_url, key)
        self.daily = DailyReconciliation(books.db, service, self.metrics, lambda: books.now)

    def shown(self) -> tuple[float | None, float | None]:
        """Return the difference and the moment that the metrics say."""
        value = self.metrics.registry.get_sample_value
        return (
            value("weir_reconciliation_difference_usd", {"upstream": "openai"}),
            value("weir_reconciliation_checked_timestamp_seconds", {"upstream": "openai"}),
        )


async def test_the_last_three_days_are_checked_once_a_day_from_six_in_the_morning_on(
    books: Books, provider: Provider
) -> None:
    provider.answer = echo_day
    process = Process(books, provider.base_url)
    books.now = MIDNIGHT + timedelta(days=1, hours=6)
    await process.daily.check_if_due()
    assert days_asked(provider) == DAYS
    books.now += 23 * HOUR + timedelta(minutes=59)
    await process.daily.check_if_due()
    assert len(provider.lines) == 3
    books.now += timedelta(minutes=1)
    await process.daily.check_if_due()
    assert days_asked(provider)[3:] == [day + timedelta(days=1) for day in DAYS]


async def test_a_moment_that_was_missed_is_made_up_for_before_the_next(books: Books, provider: Provider) -> None:
    provider.answer = echo_day
    books.now = MIDNIGHT + timedelta(days=2, hours=5, minutes=59)
    await Process(books, provider.base_url).daily.check_if_due()
    assert days_asked(provider) == DAYS


async def test_a_day_that_somebody_checked_before_six_is_checked_again(books: Books, provider: Provider) -> None:
    provider.answer = echo_day
    books.now = MIDNIGHT + timedelta(days=1, hours=5)
    await books.service(provider.base_url).check(DAYS[-1])
    books.now += HOUR
    await Process(books, provider.base_url).daily.check_if_due()
    assert len(provider.lines) == 4


async def test_the_metric_is_the_sum_of_all_differences_and_the_same_in_every_process(books: Books) -> None:
    await books.owe(entry(2_000_000_000))
    books.charge(MODEL, "0.5")
    books.charge("web search", "0.25", MIDNIGHT - timedelta(days=2))
    books.charge("long ago", "64", MIDNIGHT - timedelta(days=3))
    first, second = Process(books), Process(books, key="sk-not-asked-for-again")
    assert first.shown() == (None, None)
    await first.daily.check_if_due()
    assert first.shown() == (1.75, books.now.timestamp())
    checked_at = books.now.timestamp()
    books.now += HOUR
    await second.daily.check_if_due()
    assert second.shown() == (1.75, checked_at)


async def test_one_process_of_all_asks_the_provider(books: Books, provider: Provider, settings: Settings) -> None:
    provider.answer = echo_day
    provider.gate.clear()
    other_db = open_database(settings)
    other_books = Books(other_db, books.simulator, books.base_url)
    other_books.now = books.now
    first, second = Process(books, provider.base_url), Process(other_books, provider.base_url)
    try:
        async with asyncio.timeout(30):
            running = asyncio.create_task(first.daily.check_if_due())
            await until(lambda: bool(provider.lines))
            await second.daily.check_if_due()
            assert len(provider.lines) == 1
            provider.gate.set()
            await running
            assert days_asked(provider) == DAYS
            assert [row[:2] for row in await books.rows()] == [(day, "") for day in DAYS]
            await second.daily.check_if_due()
            assert len(provider.lines) == 3
    finally:
        provider.gate.set()
        await other_db.close()


async def test_a_check_that_failed_is_done_from_the_begin_by_whoever_comes_next(
    books: Books, provider: Provider
) -> None:
    provider.answer = lambda line: echo_day(line) if len(provider.lines) == 1 else json_answer({}, 500)
    process = Process(books, provider.base_url)
    with pytest.raises(ProviderFailed):
        await process.daily.check_if_due()
    assert process.shown() == (0, books.now.timestamp())
    provider.answer = echo_day
    await process.daily.check_if_due()
    assert days_asked(provider)[2:] == DAYS


async def test_a_provider_that_is_away_for_long_is_one_warning_and_tried_until_it_is_back(
    books: Books, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daily_service, "_INTERVAL_SECONDS", 0.01)
    provider.answer = lambda _: json_answer({}, 500)
    with structlog.testing.capture_logs() as lines:
        async with kept_checked(Process(books, provider.base_url)):
            await until(lambda: len(provider.lines) > 2)
            provider.answer = echo_day
            await until(lambda: sum(line["event"] == "reconciled" for line in lines) == 3)
    warnings = [line for line in lines if line["event"] == "not_reconciled"]
    assert [line["reason"] for line in warnings] == ["ProviderFailed: the provider answered 500"]


async def test_a_weir_with_an_admin_key_checks_by_itself(start_weir: StartWeir, books: Books) -> None:
    weir = await start_weir({"reconciliation.admin_api_key": SecretStr(UPSTREAM_KEY)})
    label = 'weir_reconciliation_difference_usd{upstream="openai"} 0.0'

    async def is_shown() -> bool:
        async with weir.http() as http:
            return label in (await http.get("/metrics")).text

    await until(is_shown)
    assert len(await books.rows()) == 3


def echo_day(line: str) -> bytes:
    """Answer with an empty page about the day that was asked for."""
    document = page([])
    document["data"][0]["start_time"] = start_time(line)
    return json_answer(document)


def days_asked(provider: Provider) -> list[date]:
    return [datetime.fromtimestamp(start_time(line), MIDNIGHT.tzinfo).date() for line in provider.lines]


def start_time(line: str) -> int:
    return int(line.split("start_time=")[1].split("&", maxsplit=1)[0])


@contextlib.asynccontextmanager
async def kept_checked(process: Process) -> Any:
    task = asyncio.create_task(process.daily.keep_checked())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
