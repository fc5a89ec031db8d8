"""A price as people manage it. Pure."""

from datetime import datetime
from typing import Any, NamedTuple


class PriceRecord(NamedTuple):
    """A row of the table of prices."""

    id: str
    document: dict[str, Any]
    """As `app/prices/prices.json` writes it."""
    created_at: datetime


class PriceFilter(NamedTuple):
    """Which prices to list; what is None does not matter."""

    model: str | None = None
    """Its own prices, and those of the patterns that match it."""
    service_tier: str | None = None
    source: str | None = None
    at: datetime | None = None
    """Only what is in force then: of each model and tier an operator's price, else the newest."""
