"""The check of the books finds every difference that is planted, and none where there is none."""

import asyncio
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from app.budgets.check import Books, WindowDrift
from app.budgets.check_service import CheckService
from app.core.clock import utc_now
from app.core.db import Database
from app.ledger.rollup_service import RollupService
from app.observability.metrics import Metrics
from app.setting_groups import Budgets as BudgetsSettings
from app.setting_groups import Ledger as LedgerSettings
from app.settings import Settings
from tests.budgets.conftest import FIXED, make_budget, make_entry, make_reservation, open_budgets
from tests.fixtures.waiting import until
from tests.ledger.conftest import done_while_locked, open_database


def checker(db: Database, **changes: float) -> tuple[CheckService, CollectorRegistry]:
    registry = CollectorRegistry()
    rollups = RollupService(db, LedgerSettings())
    return CheckService(db, rollups, Metrics(registry), BudgetsSettings(**changes), utc_now), registry


async def make_books(db: Database) -> str:
    """One call settled, one released, one open, one swept, under two budgets."""
    budget_id = await make_budget(db)
    await make_budget(db, scope="project", scope_id="proj_default", period="day")
    budgets = open_budgets(db)
    await budgets.lease.beat()
    calls = [make_reservation(process_id=budgets.process_id) for _ in range(3)]
    for call in calls:
        await budgets.reserve(call, FIXED)
    budgets.settle(make_entry(id=calls[0].id))
    budgets.release(calls[1].id)
    await budgets._ledger.drain()
    await budgets._releasing.drain()
    return budget_id


async def sql(db: Database, statement: str) -> None:
    async with db.hot_connection() as connection:
        await connection.execute(statement)


def test_a_difference_is_one_line_with_every_amount() -> None:
    starts_at = datetime(2026, 11, 1, tzinfo=UTC)
    drift = WindowDrift(7, "bud_1", starts_at, *(number * 10**9 for number in (1, 2, 3, 4, 5, 6)))
    assert str(drift) == (
        "bud_1 from 2026-11-01: spent $1, its entries $2; reserved $3, open reservations $4; withheld $5, uncertain $6"
    )
    assert Books([drift], ["an hour", "a day"]).difference_count == 3


async def test_books_that_add_up_have_no_differences(db: Database) -> None:
    await make_books(db)
    books = await checker(db)[0].check()
    assert books is not None
    assert books.difference_count == 0


async def test_looking_through_the_totals_may_take_longer_than_other_statements(
    db: Database, settings: Settings
) -> None:
    budget_id = await make_books(db)
    hasty = open_database(settings, statement_timeout_seconds=0.2)
    await RollupService(db, LedgerSettings()).roll_up()
    await sql(db, f"UPDATE budget_windows SET spent_nano = spent_nano + 1 WHERE budget_id = '{budget_id}'")

    books = await done_while_locked(db, "usage_rollups", checker(hasty)[0].check())

    assert books is not None
    assert [drift.budget_id for drift in books.windows] == [budget_id]
    await hasty.close()


async def test_the_dead_and_those_who_were_only_asleep_leave_books_that_add_up(db: Database) -> None:
    await make_budget(db)
    sleeper, other = open_budgets(db), open_budgets(db, lease_seconds=0.001)
    await sleeper.lease.beat()
    call = make_reservation(process_id=sleeper.process_id)
    await sleeper.reserve(call, FIXED)
    await other.lease.sweep()
    books = await checker(db)[0].check()
    assert books is not None
    assert books.difference_count == 0
    sleeper.settle(make_entry(id=call.id))
    await sleeper._ledger.drain()
    books = await checker(db)[0].check()
    assert books is not None
    assert books.difference_count == 0


async def test_the_time_zones_of_budgets_in_force_that_this_machine_does_not_know_are_found(db: Database) -> None:
    await make_budget(db, time_zone="Europe/Berlin")
    await make_budget(db, time_zone="Mars/Olympus_Mons")
    await make_budget(db, time_zone="Mars/Hellas", archived_at=utc_now())
    assert await checker(db)[0].find_unknown_zones() == ["Mars/Olympus_Mons"]


async def test_a_window_that_somebody_changed_is_found(db: Database) -> None:
    budget_id = await make_books(db)
    await sql(db, f"UPDATE budget_windows SET spent_nano = spent_nano + 1 WHERE budget_id = '{budget_id}'")
    books = await checker(db)[0].check()
    assert books is not None
    [drift] = books.windows
    assert (drift.budget_id, drift.spent_nano - drift.entries_nano) == (budget_id, 1)
    assert budget_id in str(drift)


async def test_what_is_withheld_adds_up_too(db: Database) -> None:
    budget_id = await make_budget(db)
    sleeper, other = open_budgets(db), open_budgets(db, lease_seconds=0.001)
    await sleeper.lease.beat()
    call = make_reservation(process_id=sleeper.process_id)
    await sleeper.reserve(call, FIXED)
    await other.lease.sweep()
    sleeper.settle(make_entry(id=call.id, ending="estimated", flags=("withheld",)))
    await sleeper._ledger.drain()
    await sleeper.reserve(again := make_reservation(process_id=sleeper.process_id), FIXED)
    sleeper.settle(make_entry(id=again.id, ending="estimated", flags=("withheld",)))
    await sleeper._ledger.drain()

    books = await checker(db)[0].check()
    assert books is not None
    assert books.difference_count == 0
    async with db.hot_connection() as connection:
        assert await connection.fetchval("SELECT withheld_nano FROM budget_windows") == 2 * (9_000 - 5_700)
    await sql(db, f"UPDATE budget_windows SET withheld_nano = 0 WHERE budget_id = '{budget_id}'")
    books = await checker(db)[0].check()
    assert books is not None
    assert books.difference_count == 1


async def test_a_reservation_that_somebody_deleted_is_found(db: Database) -> None:
    await make_books(db)
    await sql(db, "DELETE FROM reservations")
    books = await checker(db)[0].check()
    assert books is not None
    assert [(drift.reserved_nano, drift.open_nano) for drift in books.windows] == [(9_000, 0), (9_000, 0)]


async def test_a_rollup_that_somebody_changed_is_found(db: Database) -> None:
    await make_books(db)
    await RollupService(db, LedgerSettings()).roll_up()
    await sql(db, "UPDATE usage_rollups SET cost_nano = cost_nano + 1 WHERE width = 'hour'")
    books = await checker(db)[0].check()
    assert books is not None
    assert books.windows == []
    assert len(books.rollups) == 1


async def test_what_was_spent_before_the_budget_was_made_counts(db: Database) -> None:
    budget_id = await make_books(db)
    await sql(
        db, f"UPDATE budget_windows SET opening_nano = 5, spent_nano = spent_nano + 5 WHERE budget_id = '{budget_id}'"
    )
    books = await checker(db)[0].check()
    assert books is not None
    assert books.difference_count == 0


async def test_one_process_checks_at_a_time(db: Database) -> None:
    async with db.hot_connection() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('weir.budgets.check'))")
        assert await checker(db)[0].check() is None


class CountingChecks(CheckService):
    """Counts the checks that were left to another process."""

    left_to_another = 0

    async def check(self) -> Books | None:
        books = await super().check()
        self.left_to_another += books is None
        return books


async def test_what_another_process_checks_is_not_reported_and_the_next_check_comes(db: Database) -> None:
    registry = CollectorRegistry()
    settings = BudgetsSettings(check_interval_seconds=0.01)
    service = CountingChecks(db, RollupService(db, LedgerSettings()), Metrics(registry), settings, utc_now)

    def checked_at() -> float:
        return registry.get_sample_value("weir_books_checked_timestamp_seconds") or 0.0

    async with db.hot_connection() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('weir.budgets.check'))")
        checking = asyncio.create_task(service.keep_checking())
        await until(lambda: service.left_to_another > 1)
        assert checked_at() == 0.0
    await until(lambda: checked_at() > 0.0)
    checking.cancel()
    await asyncio.gather(checking, return_exceptions=True)


async def test_differences_are_a_metric_and_log_lines(db: Database) -> None:
    await make_books(db)
    await sql(db, "DELETE FROM reservations")
    service, registry = checker(db, check_interval_seconds=0.01)
    with capture_logs() as lines:
        checking = asyncio.create_task(service.keep_checking())
        await until(lambda: registry.get_sample_value("weir_books_drift", {"kind": "budget"}) == 2)
        checking.cancel()
        await asyncio.gather(checking, return_exceptions=True)
    assert "books_do_not_add_up" in [line["event"] for line in lines]
    checked = registry.get_sample_value("weir_books_checked_timestamp_seconds")
    assert checked is not None
    assert abs(checked - utc_now().timestamp()) < timedelta(hours=1).total_seconds()


async def test_a_check_that_fails_is_logged_and_made_again(db: Database) -> None:
    service, registry = checker(db, check_interval_seconds=0.01)
    await sql(db, "ALTER TABLE budget_windows RENAME TO hidden")
    try:
        with capture_logs() as lines:
            checking = asyncio.create_task(service.keep_checking())
            await until(lambda: "books_not_checked" in [line["event"] for line in lines])
    finally:
        await sql(db, "ALTER TABLE hidden RENAME TO budget_windows")
    await until(lambda: registry.get_sample_value("weir_books_drift", {"kind": "budget"}) == 0)
    checking.cancel()
    await asyncio.gather(checking, return_exceptions=True)
