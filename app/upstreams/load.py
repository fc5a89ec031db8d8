"""What one upstream is sent by this process, for all models together, and whether it may have more. Pure.

Its limits are shared out: each process keeps to its part, so that all together never send more than is allowed.
"""

from collections.abc import Callable
from typing import Final

from app.upstreams.retry_budget import RetryBudget
from app.upstreams.rolling_count import RollingCount
from app.upstreams.routing import Upstream

_MINUTE_SECONDS: Final = 60
_UNTIL_A_CALL_ENDS_SECONDS: Final = 1.0
"""Nobody knows when; by then it is worth asking again."""


class Load:
    """One upstream; *processes* answers how many share it."""

    def __init__(self, upstream: Upstream, retry_budget: RetryBudget, processes: Callable[[], int]) -> None:
        self.upstream = upstream
        self.retry_budget = retry_budget
        self.in_flight = 0
        self._sent = RollingCount(_MINUTE_SECONDS)
        self._processes = processes

    def free_at(self, now: float) -> float:
        """Return when its limits let another call go there; *now* if they do."""
        at_once, per_minute = self.upstream.calls_at_once, self.upstream.requests_per_minute
        if at_once is not None and self.in_flight >= self._share(at_once):
            return now + _UNTIL_A_CALL_ENDS_SECONDS
        return now if per_minute is None else self._sent.falls_below(self._share(per_minute), now)

    def begin(self, now: float) -> None:
        """Note a call on its way."""
        self.in_flight += 1
        if self.upstream.requests_per_minute is not None:
            self._sent.add(now)

    def take_back(self, at: float) -> None:
        """Note that the call which began at that moment was not sent."""
        if self.upstream.requests_per_minute is not None:
            self._sent.take_back(at)

    def end(self) -> None:
        """Note that a call is over."""
        self.in_flight -= 1

    def _share(self, maximum: int) -> int:
        return max(1, maximum // self._processes())
