"""Costs as CSV (RFC 4180) for spreadsheets: one row per day, project, user, key, model and tier. Pure."""

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from app.core.money import usd_text
from app.ledger.usage_sum import UsageSum

_HEADER: Final = (
    "date",
    "project_id",
    "user_id",
    "api_key_id",
    "model",
    "service_tier",
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "cost_usd",
)
# A spreadsheet takes a text that starts so for a formula, and runs it.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


def header() -> bytes:
    """Return the first line."""
    return _lines([_HEADER])


def rows(day: datetime, sums: Iterable[tuple[tuple[str, ...], UsageSum]]) -> bytes:
    """Return a line for each of the *sums* of *day*; costs are exact decimal dollars."""
    return _lines(
        (
            day.date().isoformat(),
            *map(_text, key),
            total.requests,
            total.usage.input_tokens,
            total.usage.cached_input_tokens,
            total.usage.output_tokens,
            usd_text(total.cost_nano),
        )
        for key, total in sums
    )


def _text(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def _lines(cells: Iterable[Iterable[object]]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerows(cells)
    return written.getvalue().encode()
