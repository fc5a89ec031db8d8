"""Budgets as operators see them: who may change which version, and how history shows what changed."""

from datetime import UTC, datetime
from typing import Any

from app.budgets.record import BudgetFilter, BudgetRecord, NewBudget, WindowRecord, shown
from app.core.money import Nano

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def record(**changes: Any) -> BudgetRecord:
    new = NewBudget("Research", "project", "proj_1", "gpt-4o*", "month", "UTC", Nano(10**9), "enforcing")
    return new.made("bud_1", NOW)._replace(**changes)


def test_history_shows_amounts_in_dollars_and_moments_in_seconds() -> None:
    assert shown("limit_nano", 1_500_000_000) == ("limit_usd", "1.5")
    assert shown("paused_at", NOW) == ("paused_at", int(NOW.timestamp()))
    assert shown("paused_at", None) == ("paused_at", None)
    assert shown("name", "Research") == ("name", "Research")


def test_a_budget_refuses_unless_it_observes_is_paused_or_archived() -> None:
    assert record().is_enforcing
    for change in ({"mode": "observing"}, {"paused_at": NOW}, {"archived_at": NOW}):
        assert not record(**change).is_enforcing
    assert record(paused_at=NOW).budget.is_paused
    assert not record().budget.is_paused


def test_a_budget_begins_at_its_first_version_and_its_window_with_nothing() -> None:
    assert (record().version, record().created_at, record().updated_at) == (1, NOW, NOW)
    span = record().window_at(NOW)
    assert WindowRecord.empty("bud_1", span) == (None, "bud_1", *span, 0, 0, 0, 0, 0)


def test_budgets_that_are_archived_are_listed_only_when_asked_for() -> None:
    assert not BudgetFilter().is_archived


def test_a_budget_covers_the_models_of_its_pattern_and_without_one_all() -> None:
    assert record().covers("gpt-4o-mini")
    assert not record().covers("o3")
    assert record(model=None).covers("o3")


def test_a_budget_counts_in_the_window_of_its_own_period_and_zone() -> None:
    assert record().window_at(NOW) == (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    berlin = record(period="day", time_zone="Europe/Berlin").window_at(NOW)
    assert berlin == (datetime(2026, 11, 21, 23, tzinfo=UTC), datetime(2026, 11, 22, 23, tzinfo=UTC))
    assert record(period="total").window_at(NOW.replace(year=2030)) == (NOW, None)
