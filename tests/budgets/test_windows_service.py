"""What must be true for a group to be written without a look at its windows."""

from datetime import UTC, datetime
from typing import Any

from app.budgets.budget import Budget, BudgetBook, Payer
from app.budgets.periods import Span
from app.budgets.windows_service import WindowService
from app.core.money import Nano

BEGAN = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
PAYER = Payer("proj_1", "user_1", "key_1", "gpt-4o")
ANOTHER = PAYER._replace(key_id="key_2")


def budget(name: str, **changes: Any) -> Budget:
    columns: dict[str, Any] = {
        "scope": "organization",
        "scope_id": None,
        "model": None,
        "period": "total",
        "time_zone": "UTC",
        "limit_nano": Nano(100),
        "mode": "enforcing",
        "is_paused": False,
        "created_at": BEGAN,
    }
    return Budget(id=name, name=name, **{**columns, **changes})


def book(version: int, *budgets: Budget) -> BudgetBook:
    """Return a book that knows the scopes of both callers, and these budgets."""
    made = BudgetBook(version)
    made.learn(made.unknown([PAYER, ANOTHER]), budgets)
    return made


def knowing(*budgets: Budget) -> WindowService:
    """Return the service of a process that knows these budgets, and their windows by the numbers 1, 2, 3."""
    service = WindowService()
    service._book = book(7, *budgets)
    service._current = {each.id: (each.window_at(NOW), number) for number, each in enumerate(budgets, 1)}
    return service


def test_a_group_is_for_the_time_that_is_in_every_window_whatever_their_order() -> None:
    day, month = budget("day", period="day"), budget("month", period="month")
    berlin = budget("berlin", period="day", time_zone="Europe/Berlin")
    for budgets in ([day, month, berlin], [berlin, month, day], [month, day, berlin]):
        _, current = knowing(*budgets).imagine([PAYER])
        assert current.version == 7
        assert Span(current.starts_at, current.ends_at) == Span(
            datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 22, 23, tzinfo=UTC)
        )


def test_without_an_end_a_window_is_for_all_time_from_its_beginning() -> None:
    _, current = knowing(budget("total")).imagine([PAYER])
    assert current.starts_at == BEGAN
    assert current.ends_at.year == 9999
    _, current = knowing().imagine([PAYER])
    assert (current.starts_at.year, current.ends_at.year, current.limits_nano) == (1, 9999, {})


def test_only_budgets_that_refuse_have_a_limit() -> None:
    budgets = [
        budget("enforcing", limit_nano=Nano(5)),
        budget("observing", mode="observing"),
        budget("paused", is_paused=True),
        budget("another's", scope="api_key", scope_id="key_2"),
    ]
    windows, current = knowing(*budgets).imagine([PAYER, ANOTHER])
    assert current.limits_nano == {1: 5, 2: None, 3: None, 4: 100}
    assert [[window.id for window in each] for each in windows] == [[1, 2, 3], [1, 2, 3, 4]]
    assert windows[0][0] is windows[1][0]
    assert all(window.spent_nano == window.reserved_nano == 0 for window in windows[1])
