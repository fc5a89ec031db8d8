"""What a check of the books finds. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from app.core.money import Nano, usd_text


class WindowDrift(NamedTuple):
    """A window of a budget that differs from its entries, or from the reservations that it holds."""

    window_id: int
    budget_id: str
    starts_at: datetime
    spent_nano: int
    entries_nano: int
    """The sum of its entries, with what was spent in it before the budget was made."""
    reserved_nano: int
    open_nano: int
    """The sum of the open reservations that count in it."""
    withheld_nano: int
    uncertain_nano: int
    """The sum of what its entries that are estimates may have cost beyond that."""

    def __str__(self) -> str:
        """Return it in one line for people."""
        spent, entries, reserved, held, withheld, uncertain = (usd_text(Nano(nano)) for nano in self[3:])
        return (
            f"{self.budget_id} from {self.starts_at:%Y-%m-%d}: spent ${spent}, its entries ${entries}; "
            f"reserved ${reserved}, open reservations ${held}; withheld ${withheld}, uncertain ${uncertain}"
        )


class Books(NamedTuple):
    """Everything that does not add up; empty is well."""

    windows: Sequence[WindowDrift]
    rollups: Sequence[str]

    @property
    def difference_count(self) -> int:
        """How many differences there are."""
        return len(self.windows) + len(self.rollups)
