"""Amounts of money as people write them in JSON. Pure."""

import re
from typing import Any, Final

from pydantic_core import PydanticCustomError

from app.budgets.budget import LIMIT_NANO_MAX
from app.core.money import NANO_PER_USD, Nano, usd_text

_USD: Final = re.compile(r"(-?)([0-9]{1,10})(?:\.([0-9]{1,9}))?", re.ASCII)
_FRACTION_DIGITS: Final = 9


def read_amount(value: Any) -> Nano:
    """Return whole dollars, or decimal dollars in a string such as `"10.50"`, as nano-dollars, exactly.

    Raises PydanticCustomError, which says what is allowed. A JSON number with a fraction is none of it: it may have
    been rounded on its way here.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _unlike('it must be whole dollars, or decimal dollars in quotes such as "10.50"')
    match = _USD.fullmatch(str(value)) if not isinstance(value, int) or abs(value) <= LIMIT_NANO_MAX else None
    if match is None:
        raise _unlike(
            'it must be decimal dollars such as "10.50", with at most 10 digits before the point and 9 after it'
        )
    sign, dollars, fraction = match.groups(default="")
    nano = int(dollars) * NANO_PER_USD + int(fraction.ljust(_FRACTION_DIGITS, "0"))
    if nano > LIMIT_NANO_MAX:
        raise _unlike(f"it must be at most {usd_text(LIMIT_NANO_MAX)} dollars")
    return Nano(-nano if sign else nano)


def read_limit(value: Any) -> Nano:
    """Return an amount that must not be negative, in nano-dollars."""
    nano = read_amount(value)
    if nano < 0:
        raise _unlike("it must not be negative")
    return nano


def _unlike(rule: str) -> PydanticCustomError:
    return PydanticCustomError("amount", rule)
