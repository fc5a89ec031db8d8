"""What the simulator charges: its calls at prices of its own, by day of arrival and line item, in decimal dollars.

Like a provider it charges for all that was generated, whoever saw it. Other models than these cost nothing.
"""

from decimal import Decimal
from typing import Final, NamedTuple

from app.simulator.call import Call, Ending

DAY_SECONDS: Final = 86_400
_PER: Final = 1_000_000


class _Rates(NamedTuple):
    """Dollars per million tokens."""

    input: Decimal
    cached_input: Decimal
    output: Decimal


_RATES: Final = {
    "sim-embedding": _Rates(Decimal("0.02"), Decimal("0.02"), Decimal(0)),
    "sim-": _Rates(Decimal("1.00"), Decimal("0.10"), Decimal("4.00")),
    "gpt-4o-mini": _Rates(Decimal("0.15"), Decimal("0.075"), Decimal("0.60")),
}
"""By the begin of the model's name; the first one that fits."""
_PER_IMAGE: Final = {"sim-dall-e": Decimal("0.04")}
"""Dollars, of models that are billed by the image."""


class Costs:
    """A running bill, which is kept when the records of its calls are not."""

    def __init__(self) -> None:
        self._days: dict[int, dict[str, Decimal]] = {}

    def add_call(self, call: Call) -> None:
        """Charge for a call that has ended."""
        rates = next((rates for name, rates in _RATES.items() if (call.model or "").startswith(name)), None)
        if rates is None or call.ending is Ending.REFUSED:
            return
        tokens = (call.prompt_tokens - call.cached_tokens, call.cached_tokens, call.completion_tokens)
        for kind, count, rate in zip(("input", "cached input", "output"), tokens, rates, strict=True):
            if count:
                self.add(f"{call.model}, {kind}", count * rate / _PER, call.arrived_at)
        if call.images and call.model in _PER_IMAGE:
            self.add(f"{call.model}, images", call.images * _PER_IMAGE[call.model], call.arrived_at)

    def add(self, line_item: str, usd: Decimal, moment: int) -> None:
        """Charge *usd* more for *line_item* on the day, in UTC, of *moment*, in Unix seconds.

        Tests plant differences with it.
        """
        day = self._days.setdefault(moment // DAY_SECONDS, {})
        day[line_item] = day.get(line_item, Decimal(0)) + usd

    def of_day(self, day: int) -> dict[str, Decimal]:
        """Return the dollars of each line item on *day*, counted from 1970-01-01."""
        return dict(sorted(self._days.get(day, {}).items()))
