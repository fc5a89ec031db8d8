"""What the ledger says about one attempt, beside the call that it is about. Pure."""

from dataclasses import dataclass

from tests.torture.evidence import Row
from tests.torture.truth import Served, true_cost_nano


@dataclass
class Charge:
    """The rows of one attempt: one, or an orphan's and its correction."""

    rows: list[Row]
    call: Served | None = None

    @property
    def last(self) -> Row:
        return self.rows[-1]

    @property
    def cost_nano(self) -> int:
        return sum(row.cost_nano for row in self.rows)

    @property
    def true_nano(self) -> int:
        return 0 if self.call is None else true_cost_nano(self.call)

    @property
    def too_little_nano(self) -> int:
        """How much more than charged it cost, up to what was held for it."""
        return max(0, min(self.true_nano, self.last.ceiling_nano) - self.cost_nano)

    @property
    def flags(self) -> set[str]:
        return {flag for row in self.rows for flag in row.flags}
