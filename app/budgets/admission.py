"""Whether a call fits its budgets: all of them or none, and how much it may hold. Pure arithmetic on locked rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from app.budgets.budget import LIMIT_NANO_MAX, Budget
from app.budgets.periods import Span
from app.core.money import Nano


@dataclass(slots=True)
class Demand:
    """What a call could cost at most: `ceiling_nano` >= `capped_nano` >= `least_nano`.

    All three are the same for a caller that names a maximum of its own. For one that does not, its output can be
    capped when a budget demands it: at the usual cap, or lower, as far down as the smallest cap that is of any use.
    """

    ceiling_nano: Nano
    capped_nano: Nano
    least_nano: Nano


@dataclass(slots=True)
class Window:
    """A window of a budget as it stands in its locked row; `reserve` moves it on in memory."""

    id: int
    budget: Budget
    span: Span
    extra_nano: int
    spent_nano: int
    reserved_nano: int
    withheld_nano: int = 0
    """What calls whose cost was estimated may have cost more than that."""

    @property
    def limit_nano(self) -> int:
        """What may be spent in this window."""
        return self.budget.limit_nano + self.extra_nano

    @property
    def headroom_nano(self) -> int:
        """What is neither spent, nor held, nor withheld."""
        # Said at length: this is asked of every window of every call.
        return self.budget.limit_nano + self.extra_nano - self.spent_nano - self.withheld_nano - self.reserved_nano

    @property
    def unspent_nano(self) -> int:
        """What would be left if every call under way turned out to cost nothing."""
        return self.limit_nano - self.spent_nano - self.withheld_nano


class CurrentWindows(NamedTuple):
    """What a process believes of the windows that its calls count in, for the database to check."""

    version: int
    """Of the budgets."""
    starts_at: datetime
    """The latest beginning of any of them."""
    ends_at: datetime
    """The earliest end."""
    limits_nano: Mapping[int, Nano | None]
    """By the windows' ids, without what was added to one window; None where a budget does not refuse."""


@dataclass(slots=True)
class Grant:
    """A call may be sent: `ceiling_nano` is held for it in every window."""

    ceiling_nano: Nano
    window_ids: tuple[int, ...]
    must_be_capped: bool
    """A budget relies on `ceiling_nano`: if the caller named no maximum, one that fits must be sent upstream."""


class Shortfall(NamedTuple):
    """A call does not fit: the window that is in its way, as it was then."""

    budget: Budget
    span: Span
    limit_nano: int
    spent_nano: int
    reserved_nano: int
    withheld_nano: int
    least_nano: Nano
    is_spent: bool
    """It would not fit either if every call under way turned out to cost nothing."""


def reserve(demand: Demand, windows: Sequence[Window]) -> Grant | Shortfall:
    """Hold what *demand* may cost in all of *windows*, changing them; or in none, and say which is in the way.

    Only windows of enforcing budgets refuse. Where the usual cap does not fit but the least does, everything that is
    left is held, and the cap is what that pays for.
    """
    limiting = [window for window in windows if window.budget.refuses]
    if not limiting:
        return _hold(min(demand.ceiling_nano, LIMIT_NANO_MAX), windows, must_be_capped=False)
    # What costs nothing is not refused either where more is spent than may be.
    headroom_nano = max(0, min([window.headroom_nano for window in limiting]))
    if demand.least_nano > headroom_nano:
        spent = [window for window in limiting if demand.least_nano > window.unspent_nano]
        tightest = min(limiting, key=lambda window: window.headroom_nano)
        blocking = min(spent, key=lambda window: window.unspent_nano, default=tightest)
        return Shortfall(
            budget=blocking.budget,
            span=blocking.span,
            limit_nano=blocking.limit_nano,
            spent_nano=blocking.spent_nano,
            reserved_nano=blocking.reserved_nano,
            withheld_nano=blocking.withheld_nano,
            least_nano=demand.least_nano,
            is_spent=bool(spent),
        )
    return _hold(Nano(min(demand.capped_nano, headroom_nano)), windows, must_be_capped=True)


def too_full(demand: Demand, windows: Sequence[Window]) -> list[int]:
    """Return which of *windows*, by their ids, could not hold as much as the usual cap once more."""
    limiting = [window for window in windows if window.budget.refuses]
    return [window.id for window in limiting if window.headroom_nano < demand.capped_nano]


def _hold(ceiling_nano: Nano, windows: Sequence[Window], *, must_be_capped: bool) -> Grant:
    for window in windows:
        window.reserved_nano += ceiling_nano
    return Grant(ceiling_nano, tuple([window.id for window in windows]), must_be_capped)
