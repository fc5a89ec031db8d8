"""What entries add up to, and what they are grouped by. Pure: names and numbers only."""

from typing import Final, NamedTuple

from app.core.money import Nano
from app.ledger.entries import Entry, Outcome
from app.prices.usage import Usage

DIMENSIONS: Final = ("project_id", "user_id", "key_id", "operation", "model", "service_tier", "outcome")
"""What rollups are kept apart by; `model` is the one that answered, else the one that was asked for."""
UNANSWERED: Final = "(unanswered)"
"""The `model` of all entries without a cost that no model answered: callers can ask for any number of names."""
UNANSWERED_OUTCOMES: Final[tuple[Outcome, ...]] = ("upstream_refused", "upstream_broke", "client_left")
"""How a call ends that may be such an entry."""
REQUESTS: Final = "requests"
"""Entries that are no corrections: attempts at an upstream."""
COST: Final = "cost_nano"
MEASURES: Final = (REQUESTS, *Usage._fields, COST)
"""What is summed."""
COLUMNS_OF_ENTRIES: Final = tuple(name for name in Usage._fields if name in Entry._fields)
"""Counts that are columns of the ledger; all others are in `other_units`."""


class UsageSum(NamedTuple):
    """What a group of entries adds up to."""

    requests: int
    usage: Usage
    cost_nano: Nano
