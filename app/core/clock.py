"""The only place that asks what time it is; everything else is handed a clock, or `now`."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Answers the current moment as an aware UTC datetime."""


def utc_now() -> datetime:
    """Return the current moment in UTC."""
    return datetime.now(UTC)


def monotonic_seconds() -> float:
    """Return seconds on a clock that never goes back, for measuring durations."""
    return time.perf_counter()
