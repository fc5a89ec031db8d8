"""What a caller is told whose call does not fit a budget. Pure."""

from typing import NamedTuple

from app.budgets.admission import Shortfall
from app.core.money import Nano, usd_text
from app.errors import Refusal
from app.money_errors import BudgetReserved, BudgetSpent, ModelNotPriced


class Unpriced(NamedTuple):
    """A call under a budget whose model has no price."""

    model: str


def refusal(answer: Shortfall | Unpriced, retry_after_ms: int) -> Refusal:
    """Return the error that says which budget is in the way, how it stands, and when to ask again."""
    if isinstance(answer, Unpriced):
        return ModelNotPriced(answer.model)
    shown = {
        "id": answer.budget.id,
        "name": answer.budget.name,
        "scope": answer.budget.scope,
        "period": answer.budget.period,
        "limit_usd": usd_text(Nano(answer.limit_nano)),
        "spent_usd": usd_text(Nano(answer.spent_nano)),
        "reserved_usd": usd_text(Nano(answer.reserved_nano)),
        "withheld_usd": usd_text(Nano(answer.withheld_nano)),
        "needed_usd": usd_text(answer.least_nano),
        "resets_at": None if answer.span.ends_at is None else int(answer.span.ends_at.timestamp()),
    }
    withheld = (
        f", ${shown['withheld_usd']} are withheld for calls whose cost could only be estimated"
        if answer.withheld_nano
        else ""
    )
    stands = (
        f"of ${shown['limit_usd']}, ${shown['spent_usd']} are spent and ${shown['reserved_usd']} are held by "
        f"calls under way{withheld}; this call can cost up to ${shown['needed_usd']}"
    )
    if not answer.is_spent:
        return BudgetReserved(
            f"The budget '{answer.budget.name}' is held by calls under way: {stands}. Try again in a moment.",
            shown,
            headers={"retry-after-ms": str(retry_after_ms), "retry-after": str(-(-retry_after_ms // 1_000))},
        )
    resets = "" if answer.span.ends_at is None else f" It resets at {answer.span.ends_at:%Y-%m-%dT%H:%M:%SZ}."
    return BudgetSpent(
        f"You exceeded your current quota: too little is left of the budget '{answer.budget.name}': {stands}.{resets}",
        shown,
    )
