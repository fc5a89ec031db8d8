"""How often, and after what pause, the same upstream is tried again, so that an outage is not made worse. Pure."""

from collections.abc import Callable
from typing import Final

_BURST: Final = 10.0
_BACKOFF_SECONDS: Final = 0.25
_BACKOFF_SECONDS_MAX: Final = 4.0


class RetryBudget:
    """A bucket of retries: every call puts a part of one in, time puts a few in, every retry takes one out.

    So retries add at most that part to the load of an upstream, plus the few that an upstream of few calls may have.
    """

    def __init__(self, percent: int, per_second: float, now: float) -> None:
        self._part = percent / 100
        self._per_second = per_second
        self._tokens = _BURST
        self._at = now

    def deposit(self) -> None:
        """Note a call that is no retry."""
        self._tokens = min(_BURST, self._tokens + self._part)

    def tokens(self, now: float) -> float:
        """Return how many retries there may be now."""
        self._tokens = min(_BURST, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        return self._tokens

    def spend(self, now: float) -> bool:
        """Take one retry out; tells whether there was one."""
        if self.tokens(now) < 1:
            return False
        self._tokens -= 1
        return True


def repeats_silently(user_agent: str) -> bool:
    """Tell whether a caller's SDK sends failed calls again, without saying so, whatever `x-should-retry` says.

    Each of its tries is then sent to an upstream once: Vercel's AI SDK makes three.
    """
    return "ai-sdk/" in user_agent


def attempts_allowed(sdk_retry_count: int | None, attempts_max: int) -> int:
    """Return how often one call may be sent to one upstream.

    *sdk_retry_count* is the caller's `x-stainless-retry-count`, None without one. A call that its SDK is repeating is
    sent to an upstream once, as it was repeated enough already.
    """
    return 1 if sdk_retry_count else attempts_max


def forbids_sdk_retry(attempts_per_upstream: int) -> bool:
    """Tell whether the final error must say `x-should-retry: false`: an upstream has seen the call twice or more.

    So one that fails always sees a call of an SDK that makes three tries at most three times: either once for each
    try, or up to three times for the first, which is then the last.
    """
    return attempts_per_upstream >= 2


def backoff_seconds(attempt: int, retry_after_seconds: float | None, random: Callable[[], float]) -> float:
    """Return the pause before the same upstream is tried again, after *attempt* (1 and up) has failed.

    Full jitter below a ceiling that doubles; on top of what the upstream asks for, so that callers do not come back
    all at once.
    """
    ceiling = min(_BACKOFF_SECONDS_MAX, _BACKOFF_SECONDS * 2.0 ** (attempt - 1))
    return (retry_after_seconds or 0.0) + random() * ceiling


def fits(pause_seconds: float, now: float, deadline: float) -> bool:
    """Tell whether there is anything left of a call's time after a pause; if not, the caller is told instead."""
    return now + pause_seconds < deadline
