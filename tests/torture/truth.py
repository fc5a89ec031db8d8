"""What a call really costs: the simulator's own counts times prices written down here, in decimals.

It shares no line with `app.prices`, which it is there to check.
"""

from decimal import ROUND_CEILING, Decimal
from typing import Any, NamedTuple


class Served(NamedTuple):
    """One call in the simulator's account."""

    id: str
    request_id: str
    model: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    status: int | None
    ending: str | None


class Rate(NamedTuple):
    """Dollars per million tokens, and dollars for each call."""

    input: Decimal
    cached_input: Decimal
    output: Decimal
    call: Decimal


SIMULATOR = Rate(Decimal("1.00"), Decimal("0.10"), Decimal("4.00"), Decimal(0))
ODD_MODEL = "torture-odd"
ODD = Rate(Decimal("0.333333333"), Decimal("0.077777777"), Decimal("1.234567891"), Decimal("0.000001"))
"""Nothing divides evenly: every rounding shows."""


def true_cost_nano(call: Served) -> int:
    """Return what the upstream's bill would say of *call*, in nano-dollars, rounded up once."""
    if call.ending == "refused" or call.prompt_tokens == 0:  # it never got as far as generating anything
        return 0
    rate = ODD if call.model == ODD_MODEL else SIMULATOR
    dollars_times_million = (
        (call.prompt_tokens - call.cached_tokens) * rate.input
        + call.cached_tokens * rate.cached_input
        + call.completion_tokens * rate.output
    )
    nano = (dollars_times_million * 1_000).to_integral_value(ROUND_CEILING)
    return int(nano) + int(rate.call * 1_000_000_000)


def odd_price() -> dict[str, Any]:
    """Return the odd model's price as Weir's price book has it."""
    return {
        "model": ODD_MODEL,
        "service_tier": "default",
        "valid_from": "2020-01-01",
        "rates": {"input": str(ODD.input), "cached_input": str(ODD.cached_input), "output": str(ODD.output)},
        "per_request_usd": str(ODD.call),
        "context_tokens_max": 128_000,
        "output_tokens_max": 16_384,
        "source": "operator",
    }
