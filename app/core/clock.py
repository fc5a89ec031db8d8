"""The only place that asks what time it is; everything else is handed a clock, or `now`."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

Clock = Callable[[], datetime]
"""Answers the current moment as an aware UTC datetime."""


def utc_now() -> datetime:
    """Return the current moment in UTC."""
    return datetime.now(UTC)


monotonic_seconds: Final = time.perf_counter
"""Returns seconds on a clock that never goes back, for measuring durations."""
