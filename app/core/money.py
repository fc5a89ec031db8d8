"""Money as whole nano-dollars.

One nano-dollar is 1e-9 USD. Every amount in Weir is an `int` of them (`bigint` in PostgreSQL, so up to 9.2 billion
dollars); a price is an exact decimal per million units. No float may touch money.
"""

from decimal import ROUND_CEILING, Decimal
from typing import Final, NewType

Nano = NewType("Nano", int)
"""An amount of money in nano-dollars (1e-9 USD)."""

NANO_PER_USD: Final = 1_000_000_000
NANO_MAX: Final = Nano(2**63 - 1)
"""The largest amount that fits PostgreSQL's `bigint`."""


def nano_from_usd(usd: Decimal) -> Nano:
    """Return *usd* dollars as nano-dollars, fractions of one rounded up.

    Raises ValueError for what is not a finite number or does not fit 64 bits.
    """
    if not usd.is_finite():
        raise ValueError(f"an amount of money must be a finite number, not {usd}")
    nano = int((usd * NANO_PER_USD).to_integral_value(rounding=ROUND_CEILING))
    if abs(nano) > NANO_MAX:
        raise ValueError(f"an amount of money must be at most {usd_text(NANO_MAX)} dollars, not {usd}")
    return Nano(nano)


def usd_text(nano: Nano) -> str:
    """Return *nano* as exact decimal dollars, for headers and JSON: `1_250_000` is `"0.00125"`, `0` is `"0"`."""
    sign = "-" if nano < 0 else ""
    dollars, rest = divmod(abs(nano), NANO_PER_USD)
    fraction = f"{rest:09d}".rstrip("0")
    return f"{sign}{dollars}.{fraction}" if fraction else f"{sign}{dollars}"
