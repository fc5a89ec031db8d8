"""What would become of a call, had it been made: where it would go, what it could cost, what would keep it out."""

from collections.abc import Sequence
from typing import NamedTuple

from app.budgets.admission import Demand, Grant, Shortfall, Window
from app.budgets.refusal import Unpriced
from app.errors import Operational
from app.limits.lease import Charge, Verdict
from app.prices.service import Ceiling
from app.upstreams.routing import Target


class Explanation(NamedTuple):
    """The decision on one call, with everything that led to it."""

    target: Target
    """The first that would be tried."""
    ceiling: Ceiling
    demand: Demand | None
    """None for a model without a price."""
    answer: Grant | Shortfall | Unpriced
    windows: Sequence[Window]
    """Of the budgets that the call would count in, as they stood."""
    output_tokens_cap: int | None
    """The maximum for each choice that would be set for a caller who named none."""
    is_counted_exactly: bool
    """The bound in bytes did not fit, so the input was counted in tokens."""
    charges: Sequence[Charge] = ()
    """How much the call would count in each of its limits."""
    verdict: Verdict = Verdict((), 0)
    """What these would say."""
    unavailable: Operational | None = None
    """Why no upstream would be sent the call."""
