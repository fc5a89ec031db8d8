"""The ledger's costs beside the provider's, model by model. Pure, exact: decimals and whole nano-dollars."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from app.core.money import NANO_PER_USD, Nano


class Line(NamedTuple):
    """One line item of one day, in nano-dollars."""

    line_item: str
    """A model, or what the provider calls something that is none; "" for costs that it gives no name."""
    ledger_nano: Nano
    provider_nano: Nano

    @property
    def difference_nano(self) -> Nano:
        """How much more the provider charges than the ledger says."""
        return Nano(self.provider_nano - self.ledger_nano)


class DayCheck(NamedTuple):
    """What a comparison of one day, in UTC, found."""

    day: date
    upstream: str
    checked_at: datetime
    lines: list[Line]
    """In order of their names, "" always among them: also a day without costs was checked."""
    tolerance_nano: Nano

    @property
    def total(self) -> Line:
        """All line items together."""
        ledger = sum(line.ledger_nano for line in self.lines)
        return Line("total", Nano(ledger), Nano(sum(line.provider_nano for line in self.lines)))

    @property
    def beyond_tolerance(self) -> list[Line]:
        """The line items that differ by more than is tolerated, the largest difference first."""
        found = [line for line in self.lines if abs(line.difference_nano) > self.tolerance_nano]
        return sorted(found, key=lambda line: -abs(line.difference_nano))


def compare(ledger: Mapping[str, int], provider: Iterable[tuple[str, Decimal]]) -> list[Line]:
    """Return a line for each model that either side has costs of, and for costs without a name.

    *ledger* is in nano-dollars by model, *provider* in dollars by line items such as `gpt-4o-mini-2024-07-18, input`:
    what stands before the first comma is the model.
    """
    dollars: dict[str, Decimal] = defaultdict(Decimal)
    for line_item, amount in provider:
        dollars[line_item.partition(",")[0].strip()] += amount
    names = sorted({"", *ledger, *dollars})
    return [Line(name, Nano(ledger.get(name, 0)), _nearest_nano(dollars[name])) for name in names]


def _nearest_nano(usd: Decimal) -> Nano:
    # Not rounded up as costs of Weir's own are: a provider's number has been a float, and so may be a trifle too high.
    return Nano(int((usd * NANO_PER_USD).to_integral_value(ROUND_HALF_EVEN)))
