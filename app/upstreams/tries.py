"""The way of one call through its plan: where it is sent first, and where next when that failed. Sends nothing itself.

What may be tried again, and where, is `failure.py`'s table; in which order, `balance.py`'s; how often, the retry
budget's. There are no attempts after the first byte of an answer.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from app.errors import Operational
from app.upstream_errors import UpstreamBusy, UpstreamUnavailable
from app.upstreams.balance import Order, order
from app.upstreams.failure import RETRY_AFTER_SECONDS_MAX, Verdict
from app.upstreams.health import Health
from app.upstreams.retry_budget import attempts_allowed, backoff_seconds, fits, forbids_sdk_retry
from app.upstreams.routing import Plan, Target
from app.upstreams.ticket import Ticket

_BUSY: Final = frozenset({"cooling_down", "full"})


@dataclass(slots=True)
class TryRules:
    """What one call may do; times are seconds on the monotonic clock."""

    attempts_max: int
    """At one upstream."""
    sdk_retry_count: int | None
    """How often the caller's SDK says that it has sent this call before."""
    deadline: float
    """Nothing is begun after this."""


class Next(NamedTuple):
    """What to do after an attempt failed."""

    target: Target
    pause_seconds: float
    is_again: bool
    """The same upstream once more."""


class Tries:
    """The attempts of one call."""

    def __init__(self, plan: Plan, health: Health, rules: TryRules, random: Callable[[], float]) -> None:
        self._plan = plan
        self._health = health
        self._rules = rules
        self._random = random
        self.is_choice = len(plan.targets) > 1
        """Whether there is more than one upstream to choose from."""
        self._tried: dict[str, int] = {}
        self._targets_tried: set[tuple[str, str]] = set()

    @property
    def forbids_sdk_retry(self) -> bool:
        """Whether an upstream has seen this call so often that its caller must not send it again by itself."""
        return forbids_sdk_retry(max(self._tried.values(), default=0))

    def order(self, now: float) -> Order:
        """Return what can be tried now, and what cannot, of the targets that were not tried yet."""
        left = Plan(tuple(target for target in self._plan.targets if _key(target) not in self._targets_tried))
        return order(left, lambda target: self._health.standing(target, now), self._random)

    def begin(self, now: float) -> tuple[Target, Ticket] | None:
        """Return where to send the call first, with the ticket of that attempt; None when nothing can be tried."""
        targets = self.order(now).targets if self.is_choice else self._plan.targets
        ticket = self._health.begin(targets[0], now) if targets else None
        if ticket is None:
            return None
        self._note(targets[0])
        return targets[0], ticket

    def begin_at(self, target: Target, now: float, *, is_again: bool = False) -> Ticket | None:
        """Return the ticket of an attempt at *target*; None when it must not be sent any more."""
        ticket = self._health.begin(target, now, is_again=is_again)
        self._targets_tried.add(_key(target))
        if ticket is not None:
            self._note(target)
        return ticket

    def _note(self, target: Target) -> None:
        self._targets_tried.add(_key(target))
        name = target.upstream.name
        self._tried[name] = self._tried.get(name, 0) + 1

    def has_elsewhere(self, now: float) -> bool:
        """Tell whether there is an upstream left that is ready."""
        found = self.order(now)
        return bool(found.targets) and self._health.standing(found.targets[0], now).kind == "ready"

    def next(self, target: Target, verdict: Verdict, retry_after_seconds: float | None, now: float) -> Next | None:
        """Return where to go after an attempt at *target*; None: the caller gets to know that it failed."""
        if verdict.elsewhere and now < self._rules.deadline:
            elsewhere = self.order(now).targets
            if elsewhere:
                return Next(elsewhere[0], 0.0, is_again=False)
        tried = self._tried.get(target.upstream.name, 0)
        if verdict.again and tried < attempts_allowed(self._rules.sdk_retry_count, self._rules.attempts_max):
            closed_seconds = self._health.standing(target, now).until - now  # its breaker may just have opened
            pause = max(closed_seconds, backoff_seconds(tried, retry_after_seconds, self._random))
            if closed_seconds <= RETRY_AFTER_SECONDS_MAX and fits(pause, now, self._rules.deadline):
                return Next(target, pause, is_again=True)
        return None


def nowhere(order: Order, now: float) -> Operational:
    """Return the error of a call that cannot be sent anywhere now, with the moment from which on it can."""
    wait_seconds = max(1, math.ceil(order.wait_seconds(now)))
    names = ", ".join(dict.fromkeys(f"'{each.target.upstream.name}'" for each in order.blocked))
    if any(each.standing.kind in _BUSY for each in order.blocked):
        return UpstreamBusy(f"No upstream takes more calls for this model right now: {names}.", wait_seconds)
    return UpstreamUnavailable(f"Every upstream for this model has failed too often lately: {names}.", wait_seconds)


def _key(target: Target) -> tuple[str, str]:
    return target.upstream.name, target.model
