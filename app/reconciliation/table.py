"""The result of a check as a table for people. Pure."""

from decimal import Decimal

from app.core.money import Nano, usd_text
from app.reconciliation.comparison import DayCheck, Line

_TITLES = ("line item", "ledger", "provider", "difference")


def table(check: DayCheck) -> str:
    """Return a line for each line item, their total, and a sentence that says whether they differ; in dollars."""
    lines = [line for line in check.lines if line.line_item or line.provider_nano]
    rows = [_TITLES, *map(_row, lines), _row(check.total)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    text = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return "\n".join([f"Costs of {check.upstream} on {check.day}, in UTC and dollars", "", *text, "", _sentence(check)])


def _row(line: Line) -> tuple[str, ...]:
    difference = _dollars(line.difference_nano)
    plus = "+" if line.difference_nano > 0 else ""
    return line.line_item or "(no name)", _dollars(line.ledger_nano), _dollars(line.provider_nano), plus + difference


def _sentence(check: DayCheck) -> str:
    count, tolerance = len(check.beyond_tolerance), usd_text(check.tolerance_nano)
    if not count:
        return f"No line item differs by more than {tolerance}."
    return f"{count} line item{'s differ' if count > 1 else ' differs'} by more than {tolerance}."


def _dollars(nano: Nano) -> str:
    # All with nine places, so that they stand below each other.
    return f"{Decimal(nano).scaleb(-9):.9f}"
