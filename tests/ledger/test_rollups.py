"""Rollups are what the entries add up to: exactly, whoever writes meanwhile, and again after anything went wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from app.core.clock import utc_now
from app.core.db import Database, DatabaseUnavailable
from app.core.money import Nano
from app.ledger import rollup_repository, rollup_service
from app.ledger.rollup_service import RollupService
from app.ledger.spans import LENGTHS, Span, floor
from app.ledger.usage_sum import DIMENSIONS
from app.setting_groups import Ledger as LedgerSettings
from app.settings import Settings
from tests.fixtures.own_servers import OwnServer
from tests.fixtures.waiting import until
from tests.ledger.books import open_rollups, random_entries, rolled_up, sums_of, write
from tests.ledger.conftest import make_entry, open_database, open_ledger


def today() -> Span:
    """Return a stretch of today and yesterday that is in a month with a partition, ending in whole seconds."""
    end = utc_now().replace(microsecond=0)
    return Span(max(end - timedelta(hours=30), end.replace(day=1, hour=0, minute=0, second=0)), end)


async def run(db: Database, statement: str) -> str:
    async with db.hot_connection() as connection:
        status: str = await connection.execute(statement)
        return status


async def marks(db: Database) -> int:
    async with db.hot_connection() as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM ledger_changes")
        return count


async def test_minutes_hours_and_days_are_what_the_entries_add_up_to(db: Database) -> None:
    entries = random_entries(1, 300, today())
    rollups = open_rollups(db)

    for part in (entries[:150], entries[150:151], entries[151:]):
        await write(db, part)
        await rollups.roll_up()

    assert await rolled_up(db) == sums_of(entries)
    assert await marks(db) == 0
    await rollups.roll_up()
    assert await rolled_up(db) == sums_of(entries)


async def test_entries_that_were_there_already_are_not_counted_twice(db: Database) -> None:
    entries = random_entries(2, 20, today())
    rollups = open_rollups(db)
    await write(db, entries)
    await rollups.roll_up()

    await write(db, entries)
    await rollups.roll_up()

    assert await rolled_up(db) == sums_of(entries)


async def test_sums_that_do_not_fit_64_bits_are_exact(db: Database) -> None:
    entries = [make_entry(cost_nano=2**63 - 1, settled_at=today().end) for _ in range(3)]
    rollups = open_rollups(db)

    await write(db, entries)
    await rollups.roll_up()

    assert await rolled_up(db) == sums_of(entries)
    assert await rollups.find_drift(Span(today().begin, today().end + timedelta(seconds=1))) == []


async def test_nothing_is_lost_or_doubled_while_others_write_and_roll_up(db: Database, settings: Settings) -> None:
    span = Span(floor(utc_now(), "hour"), floor(utc_now(), "hour") + timedelta(minutes=3))
    entries = random_entries(3, 2_000, span)
    other = open_database(settings)
    writers = [open_ledger(db), open_ledger(other)]
    rollers = [open_rollups(db), open_rollups(other)]
    is_writing = True

    async def write_some(number: int) -> None:
        for start in range(number, len(entries), 2 * 50):
            for entry in entries[start : start + 2 * 50 : 2]:
                writers[number].append(entry)
            await writers[number].drain()

    async def roll(number: int) -> int:
        rounds = 0
        while is_writing:
            await rollers[number].roll_up()
            rounds += 1
        return rounds

    async with asyncio.timeout(60):
        rolling = [asyncio.create_task(roll(number)) for number in range(2)]
        await asyncio.gather(write_some(0), write_some(1))
        is_writing = False
        rounds = await asyncio.gather(*rolling)
        await rollers[0].roll_up()

    assert sum(rounds) > len(rounds)  # at least one of them did so more than once meanwhile
    assert await rolled_up(db) == sums_of(entries)
    assert await rollers[0].find_drift(span) == []
    await other.close()


@asynccontextmanager
async def open_transaction(settings: Settings) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    assert settings.database_url is not None
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    try:
        yield connection
    finally:
        await connection.close()


async def test_an_entry_that_commits_after_a_roll_up_of_its_minute_is_in_the_next(
    db: Database, settings: Settings
) -> None:
    early, late = (make_entry(settled_at=today().end) for _ in range(2))
    ledger, rollups = open_ledger(db), open_rollups(db)
    async with open_transaction(settings) as slow:
        transaction = slow.transaction()
        await transaction.start()
        await ledger.write(slow, [late])
        await write(db, [early])

        await rollups.roll_up()
        assert await rolled_up(db) == sums_of([early])
        await transaction.commit()

    await rollups.roll_up()
    assert await rolled_up(db) == sums_of([early, late])


async def test_what_is_rolled_back_leaves_no_mark(db: Database) -> None:
    await run(db, "TRUNCATE ledger_changes")
    with pytest.raises(asyncpg.CheckViolationError):
        await write(db, [make_entry(ending="no such ending")])

    assert await marks(db) == 0


async def test_a_backlog_is_rolled_up_in_steps_of_bounded_size(db: Database) -> None:
    end = today().end
    entries = [make_entry(settled_at=max(end - minute * LENGTHS["minute"], today().begin)) for minute in range(35)]
    await write(db, entries)
    rollups = open_rollups(db)

    minutes = len({floor(e.settled_at, "minute") for e in entries})
    assert await rollups._roll_up_some() == (minutes >= rollup_service._MINUTES_MAX)
    assert await marks(db) == max(0, minutes - rollup_service._MINUTES_MAX)
    await rollups.roll_up()

    assert await rolled_up(db) == sums_of(entries)


async def test_a_backlog_of_marks_is_looked_at_in_steps_of_bounded_size(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollup_repository, "_MARKS_MAX", 2)
    entries = [make_entry(settled_at=today().end) for _ in range(5)]
    for entry in entries:
        await write(db, [entry])
    rollups = open_rollups(db)

    assert await rollups._roll_up_some()
    assert await marks(db) == 3
    await rollups.roll_up()

    assert await marks(db) == 0
    assert await rolled_up(db) == sums_of(entries)


async def test_any_number_of_names_that_no_model_answers_to_is_one_group(db: Database) -> None:
    end = today().end
    invented = [
        make_entry(settled_at=end, model=f"invented-{n}", answered_model=None, cost_nano=Nano(0), outcome=outcome)
        for n in range(20)
        for outcome in ("upstream_refused", "client_left")
    ]
    rollups = open_rollups(db)
    await write(db, invented)
    await rollups.roll_up()

    async with db.hot_connection() as connection:
        rows = await connection.fetch("SELECT model, outcome, requests FROM usage_rollups WHERE width = 'day'")
    assert sorted(map(tuple, rows)) == [
        ("(unanswered)", outcome, 20) for outcome in ("client_left", "upstream_refused")
    ]
    assert await rollups.find_drift(Span(end, end + timedelta(seconds=1))) == []


async def test_groups_of_names_that_an_older_version_made_are_no_drift(db: Database) -> None:
    end = today().end
    await write(db, [make_entry(settled_at=end, answered_model=None, cost_nano=Nano(0), outcome="upstream_refused")])
    rollups = open_rollups(db)
    await rollups.roll_up()

    await run(db, "UPDATE usage_rollups SET model = 'invented'")
    assert await rollups.find_drift(Span(end, end + timedelta(seconds=1))) == []
    await run(db, "UPDATE usage_rollups SET requests = 2")
    drifts = await rollups.find_drift(Span(end, end + timedelta(seconds=1)))
    assert [drift.missing for drift in drifts] == [{"requests": -1}] * 3


async def test_those_who_ask_while_a_roll_up_runs_share_the_next_one(db: Database) -> None:
    rollups = open_rollups(db)
    entry = make_entry(settled_at=today().end)

    first = asyncio.create_task(rollups.roll_up())
    await asyncio.sleep(0)  # it runs now
    await write(db, [entry])
    async with asyncio.timeout(20):
        await asyncio.gather(first, *(rollups.roll_up() for _ in range(50)))

    assert await rolled_up(db) == sums_of([entry])


async def test_rollups_that_were_lost_or_changed_are_found_and_made_anew(db: Database) -> None:
    span = today()
    entries = random_entries(4, 100, span)
    rollups = open_rollups(db)
    await write(db, entries)
    await rollups.roll_up()
    assert await rollups.find_drift(span) == []

    await run(db, "UPDATE usage_rollups SET cost_nano = cost_nano + 1 WHERE width = 'hour'")
    hours = sum(1 for key in sums_of(entries) if key[0] == "hour" and key[-1] == "requests")
    drifts = await rollups.find_drift(span)
    assert len(drifts) == min(hours, 100)
    assert {(drift.width, tuple(drift.missing.items())) for drift in drifts} == {("hour", (("cost_nano", -1),))}
    assert tuple(drifts[0].group) == DIMENSIONS

    await run(db, "DELETE FROM usage_rollups WHERE width <> 'hour'")
    drifts = await rollups.find_drift(span)
    assert {drift.width for drift in drifts} == {"minute", "hour", "day"}
    assert all(drift.missing["requests"] >= 0 for drift in drifts if drift.width == "day")

    await rollups.rebuild(span)
    assert await rollups.find_drift(span) == []
    assert await rolled_up(db) == sums_of(entries)


async def test_what_no_roll_up_has_seen_yet_is_no_drift(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    span = today()
    rollups = open_rollups(db)
    inner = rollups.roll_up

    async def roll_up_and_write() -> None:
        await inner()
        await write(db, random_entries(5, 10, span))

    monkeypatch.setattr(rollups, "roll_up", roll_up_and_write)
    assert await rollups.find_drift(span) == []


class CountingRollups(RollupService):
    """Counts the roll-ups that failed."""

    failures = 0

    async def roll_up(self) -> None:
        try:
            await super().roll_up()
        except DatabaseUnavailable:
            self.failures += 1
            raise


async def test_the_roll_up_goes_on_by_itself_and_says_once_that_it_cannot(
    own_db: Database, own_postgres: OwnServer
) -> None:
    rollups = CountingRollups(own_db, LedgerSettings(rollup_interval_seconds=0.01))
    keeping = asyncio.create_task(rollups.keep_rolled_up())
    entry = make_entry(settled_at=today().end)
    try:
        async with asyncio.timeout(40):
            await write(own_db, [entry])
            await until(lambda: holds(own_db, [entry]))
            with capture_logs() as lines:
                own_postgres.kill()
                await until(lambda: rollups.failures > 2)
                with pytest.raises(DatabaseUnavailable):
                    await rollups.roll_up()
                own_postgres.start()
                later = make_entry(settled_at=today().end)
                await until(lambda: wrote(own_db, later))
                await until(lambda: holds(own_db, [entry, later]))
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await rollups.close()

    assert [line["event"] for line in lines].count("ledger_not_rolled_up") == 1


async def holds(db: Database, entries: list[Any]) -> bool:
    return await rolled_up(db) == sums_of(entries)


async def wrote(db: Database, entry: Any) -> bool:
    try:
        await write(db, [entry])
    except DatabaseUnavailable:
        return False
    return True


async def test_a_roll_up_waits_for_another_process_only_so_long(own_db: Database, own_settings: Settings) -> None:
    async with open_transaction(own_settings) as other:
        await other.execute("BEGIN; SELECT pg_advisory_xact_lock(hashtext('weir.ledger.rollups'))")
        with pytest.raises(DatabaseUnavailable):
            await open_rollups(own_db).roll_up()
