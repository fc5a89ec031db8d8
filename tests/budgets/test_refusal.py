"""A refusal says which budget is in the way, how it stands, and when to ask again."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from app.budgets.admission import Shortfall
from app.budgets.budget import Budget
from app.budgets.periods import Span
from app.budgets.refusal import Unpriced, refusal
from app.core.money import Nano
from app.money_errors import BudgetReserved, BudgetSpent, ModelNotPriced

STARTS, ENDS = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
BUDGET = Budget("bud_1", "Research", "project", "proj_1", None, "month", "UTC", Nano(10**9), "enforcing", False, STARTS)
SHORTFALL = Shortfall(
    budget=BUDGET,
    span=Span(STARTS, ENDS),
    limit_nano=1_500_000_000,
    spent_nano=1_000_000_000,
    reserved_nano=300_000_000,
    withheld_nano=0,
    least_nano=Nano(250_000_000),
    is_spent=True,
)
SHOWN: dict[str, Any] = {
    "id": "bud_1",
    "name": "Research",
    "scope": "project",
    "period": "month",
    "limit_usd": "1.5",
    "spent_usd": "1",
    "reserved_usd": "0.3",
    "withheld_usd": "0",
    "needed_usd": "0.25",
    "resets_at": int(ENDS.timestamp()),
}


def test_a_spent_budget_is_explained_and_not_to_be_asked_again() -> None:
    spent = refusal(SHORTFALL, 50)

    assert type(spent) is BudgetSpent
    assert spent.budget == SHOWN
    assert spent.message == (
        "You exceeded your current quota: too little is left of the budget 'Research': of $1.5, $1 are spent and $0.3 "
        "are held by calls under way; this call can cost up to $0.25. It resets at 2026-12-01T00:00:00Z."
    )
    assert spent.headers == {"x-should-retry": "false"}


def test_a_budget_that_never_resets_does_not_say_when() -> None:
    spent = refusal(SHORTFALL._replace(budget=replace(BUDGET, period="total"), span=Span(STARTS, None)), 50)

    assert isinstance(spent, BudgetSpent)
    assert spent.budget == {**SHOWN, "period": "total", "resets_at": None}
    assert spent.message.endswith("this call can cost up to $0.25.")


def test_what_is_withheld_is_told_with_its_reason() -> None:
    spent = refusal(SHORTFALL._replace(withheld_nano=200_000_000), 50)

    assert isinstance(spent, BudgetSpent)
    assert spent.budget == {**SHOWN, "withheld_usd": "0.2"}
    assert (
        "$0.3 are held by calls under way, $0.2 are withheld for calls whose cost could only be estimated; this call"
    ) in spent.message


def test_a_held_budget_says_when_to_ask_again_in_milliseconds_and_in_whole_seconds() -> None:
    for retry_after_ms, seconds in ((50, "1"), (1_000, "1"), (1_001, "2"), (30_000, "30")):
        held = refusal(SHORTFALL._replace(is_spent=False), retry_after_ms)

        assert type(held) is BudgetReserved
        assert held.budget == SHOWN
        assert held.message == (
            "The budget 'Research' is held by calls under way: of $1.5, $1 are spent and $0.3 are held by calls under "
            "way; this call can cost up to $0.25. Try again in a moment."
        )
        assert held.headers == {
            "x-should-retry": "true",
            "retry-after-ms": str(retry_after_ms),
            "retry-after": seconds,
        }


def test_a_model_without_a_price_is_named() -> None:
    unpriced = refusal(Unpriced("gpt-9"), 50)

    assert isinstance(unpriced, ModelNotPriced)
    assert "'gpt-9'" in unpriced.message
