"""Windows of budgets: the calendar day, week (from Monday) or month that a moment is in, in a named time zone. Pure.

https://docs.python.org/3/library/zoneinfo.html; zones are those of the IANA database.
"""

from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Final, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo

Period = Literal["day", "week", "month", "total"]

PERIODS: Final = get_args(Period)
_MONTHS: Final = 12


class Span(NamedTuple):
    """From `starts_at` on, up to but without `ends_at`; None is never. Both are aware, in UTC."""

    starts_at: datetime
    ends_at: datetime | None

    def holds(self, moment: datetime) -> bool:
        """Tell whether *moment* is in it."""
        return self.starts_at <= moment and (self.ends_at is None or moment < self.ends_at)


def span(period: Period, time_zone: str, moment: datetime, *, since: datetime) -> Span:
    """Return the window of *period* that the aware *moment* is in; raises ValueError for an unknown time zone.

    The only window of `total` begins at *since*.

    A day begins when clocks in the zone first show midnight or, where that is skipped, what comes after it: so days
    may have 23 or 25 hours, and every moment is in exactly one.
    """
    if period == "total":
        return Span(since, None)
    zone = read_zone(time_zone)
    day = moment.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if period == "day":
        first, after = day, day + timedelta(days=1)
    elif period == "week":
        first = day - timedelta(days=day.weekday())
        after = first + timedelta(days=7)
    else:
        first = day.replace(day=1)
        after = first.replace(year=first.year + first.month // _MONTHS, month=first.month % _MONTHS + 1)
    return Span(_instant(first, zone), _instant(after, zone))


@lru_cache(maxsize=1024)
def read_zone(name: str) -> ZoneInfo:
    """Return the time zone *name*, such as `Europe/Berlin`; raises ValueError when there is none."""
    try:
        return ZoneInfo(name)
    except (OSError, KeyError, ValueError):  # ZoneInfoNotFoundError is a KeyError; a directory is an OSError
        raise ValueError(f"'{name[:100]}' is not a time zone; use a name such as 'UTC' or 'Europe/Berlin'") from None


def is_zone(name: str) -> bool:
    """Tell whether this machine knows the time zone *name*."""
    try:
        read_zone(name)
    except ValueError:
        return False
    return True


def _instant(day: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant of a local day.

    Of a midnight that is there twice it is the first; for one that is skipped, the offset before the change leads to
    the instant of the change itself.
    """
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)
