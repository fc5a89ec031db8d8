"""What this process knows of one upstream and model: whether it answers, how fast, how much is under way. Pure."""

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol

from app.upstreams.breaker import Breaker, BreakerRules
from app.upstreams.head_time import HeadTime
from app.upstreams.load import Load
from app.upstreams.routing import Target

Kind = Literal["ready", "stalled", "full", "cooling_down", "open"]
"""`stalled`, which is silent or just wanted no call, may be tried when nothing else is ready; what comes after it is
not tried at all."""
Key = tuple[str, str]
"""An upstream's name, and a model's as callers name it."""

_UNANSWERED_CALLS_MIN: Final = 3
"""Fewer calls that wait say nothing about an upstream, unless a probe of Weir's own is not answered either."""


@dataclass(frozen=True, slots=True)
class HealthRules:
    """What healthy means. The settings of the same names explain each."""

    breaker: BreakerRules = field(default_factory=BreakerRules)
    slow_call_seconds: float = 300.0
    stall_seconds: float = 0.5
    retry_budget_percent: int = 20
    retries_per_second: float = 0.2


class Standing(NamedTuple):
    """Whether a call may go somewhere now."""

    kind: Kind
    until: float
    """When it may, as far as is known; now if it may."""
    in_flight: int
    """Calls for this model that are under way there."""


class Observer(Protocol):
    """Hears what happens, at once and in between: it must not take long, and must not raise."""

    def changed(self, target: "TargetHealth") -> None:
        """Hear that a breaker has changed its state, or cools down."""

    def ended(self, upstream: str, outcome: str) -> None:
        """Hear that an attempt has ended: `answered`, `abandoned`, or a verdict's name."""


class TargetHealth:
    """One upstream and model."""

    def __init__(self, target: Target, rules: HealthRules, load: Load, breaker: Breaker, usual: HeadTime) -> None:
        self.upstream = target.upstream
        self.model = target.model
        self.load = load
        self.breaker = breaker
        self.in_flight = 0
        self.answered_at: float | None = None
        """When it last answered anything at all."""
        self.head_time = HeadTime()
        self._rules = rules
        self._usual = usual
        self._waiting: dict[object, float] = {}
        self._given_up = 0
        self._is_mute = False
        self._proofs = 0

    @property
    def key(self) -> Key:
        """What it is known by."""
        return self.upstream.name, self.model

    @property
    def waiting(self) -> int:
        """How many calls wait for the head of their answer."""
        return len(self._waiting)

    def patience_seconds(self) -> float:
        """Return how long it may be silent: as is usual here, or for this model elsewhere if it never answered."""
        known = self.head_time.long_seconds() or self._usual.long_seconds() or 0.0
        return max(self._rules.stall_seconds, known)

    def silent_seconds(self, now: float) -> float:
        """Return for how long calls wait without any answer; 0 when that says nothing about the upstream."""
        has_evidence = self._is_mute or len(self._waiting) + self._given_up >= _UNANSWERED_CALLS_MIN
        return self._waited_seconds(now) if has_evidence else 0.0

    def is_stalled(self, now: float) -> bool:
        """Tell whether it accepts calls and has answered nothing for longer than it ever takes."""
        return self.silent_seconds(now) > self.patience_seconds()

    def is_suspect(self, now: float) -> bool:
        """Tell whether few calls wait for so long that Weir should look by itself whether anybody is there.

        Whoever was found to be there is asked again only after twice the time.
        """
        return not self.silent_seconds(now) and self._waited_seconds(now) > self.patience_seconds() * 2**self._proofs

    def probed(self, now: float, *, is_answered: bool) -> None:
        """Note what such a look has found, or one that the breaker wanted."""
        self.breaker.probed(now, is_answered=is_answered)
        self._is_mute = not is_answered
        self._proofs = min(self._proofs + 1, 20) if is_answered else 0

    def standing(self, now: float) -> Standing:
        """Return whether a call may go there now."""
        kind: Kind = "ready"
        until = self.breaker.ready_at(now)
        if until > now:
            kind = "cooling_down" if self.breaker.state == "closed" else "open"
        elif (full_until := self.load.free_at(now)) > now:
            kind, until = "full", full_until
        elif self.is_stalled(now) or now < self.breaker.wary_until:
            kind = "stalled"
        return Standing(kind, until, self.in_flight)

    def is_idle(self, now: float) -> bool:
        """Tell whether nothing is lost by forgetting it."""
        return not self.in_flight and self.breaker.is_idle(now)

    def begin(self, ticket: object, now: float) -> None:
        """Note a call on its way."""
        if not self._waiting:
            self._forget_probes()
        self.in_flight += 1
        self.load.begin(now)
        self._waiting[ticket] = now

    def sent(self, ticket: object, now: float) -> None:
        """Note that a call on its way waits for its answer since now, and not longer."""
        self._waiting.pop(ticket, None)
        self._waiting[ticket] = now

    def hear(self, ticket: object, now: float, head_seconds: float | None = None) -> None:
        """Note an answer of any kind; how long it took if it was a good one."""
        self.answered_at = now
        self._given_up = 0
        self._forget_probes()
        self._waiting.pop(ticket, None)
        if head_seconds is not None:
            self.head_time.add(head_seconds)
            self._usual.add(head_seconds)

    def give_up(self, ticket: object) -> None:
        """Note that nobody waits for an answer any more that has not come."""
        self._given_up += 1
        self._waiting.pop(ticket, None)

    def end(self, ticket: object) -> None:
        """Note that a call is over."""
        self._waiting.pop(ticket, None)
        self.in_flight -= 1
        self.load.end()

    def _forget_probes(self) -> None:
        self._is_mute, self._proofs = False, 0

    def _waited_seconds(self, now: float) -> float:
        """Return how long the oldest call waits, or since when there was an answer to another one."""
        oldest = next(iter(self._waiting.values()), now)
        return now - (oldest if self.answered_at is None else max(oldest, self.answered_at))
