"""What this process knows of every upstream and model: who answers, how fast, how much is under way. Pure.

Models are names that callers choose, so what is known is bounded: the least recently used is forgotten first.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol
from weakref import WeakValueDictionary

from app.upstreams.breaker import Breaker, BreakerRules, Forced
from app.upstreams.failure import Verdict
from app.upstreams.head_time import HeadTime
from app.upstreams.load import Load
from app.upstreams.retry_budget import RetryBudget
from app.upstreams.routing import Target, Upstream

Kind = Literal["ready", "stalled", "full", "cooling_down", "open"]
"""`stalled` may be tried when nothing else is ready; what comes after it is not tried at all."""
Key = tuple[str, str]
"""An upstream's name, and a model's as callers name it."""

_UNANSWERED_CALLS_MIN: Final = 3
"""Fewer calls that wait say nothing about an upstream, unless a probe of Weir's own is not answered either."""
_STRANDED_FACTOR: Final = 1.5
_TARGETS_MAX: Final = 1_000


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
        self._waiting: dict[Ticket, float] = {}
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
        elif self.is_stalled(now):
            kind = "stalled"
        return Standing(kind, until, self.in_flight)

    def is_idle(self, now: float) -> bool:
        """Tell whether nothing is lost by forgetting it."""
        return not self.in_flight and self.breaker.is_idle(now)

    def begin(self, ticket: "Ticket", now: float) -> None:
        """Note a call on its way."""
        if not self._waiting:
            self._forget_probes()
        self.in_flight += 1
        self.load.begin(now)
        self._waiting[ticket] = now

    def hear(self, ticket: "Ticket", now: float, head_seconds: float | None = None) -> None:
        """Note an answer of any kind; how long it took if it was a good one."""
        self.answered_at = now
        self._given_up = 0
        self._forget_probes()
        self._waiting.pop(ticket, None)
        if head_seconds is not None:
            self.head_time.add(head_seconds)
            self._usual.add(head_seconds)

    def give_up(self, ticket: "Ticket") -> None:
        """Note that nobody waits for an answer any more that has not come."""
        self._given_up += 1
        self._waiting.pop(ticket, None)

    def end(self, ticket: "Ticket") -> None:
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


class Ticket:
    """One attempt that was sent. Whatever becomes of it, `end` is called at last; more than once does no harm."""

    def __init__(self, health: TargetHealth, round_: int, now: float, rules: HealthRules, observer: Observer) -> None:
        self._health = health
        self._round = round_
        self._begun_at = now
        self._rules = rules
        self._observer = observer
        self._outcome: str | None = None
        self._is_over = False

    def head(self, now: float) -> None:
        """Note the head of a good answer (2xx); of others say only `failed`."""
        seconds = now - self._begun_at
        self._health.hear(self, now, seconds)
        self._outcome = "answered"
        self._health.breaker.succeeded(self._round, now, is_slow=seconds > self._rules.slow_call_seconds)

    def failed(self, verdict: Verdict, now: float, retry_after_seconds: float | None = None) -> None:
        """Note how it failed, before the head of an answer, by that head, or after it."""
        self._outcome = verdict.name
        breaker = self._health.breaker
        if verdict.counts == "silent":
            self._health.give_up(self)
        elif verdict.counts != "not_asked":
            self._health.hear(self, now)
        if verdict.counts == "well":
            breaker.succeeded(self._round, now)
        elif verdict.counts == "cool_down":
            breaker.cool_down(now, retry_after_seconds)
        elif verdict.counts in ("failed", "silent"):
            breaker.failed(self._round, now, verdict.name, is_silent=verdict.counts == "silent")

    def end(self) -> None:
        """Note that nothing more will come of it; without `head` or `failed` its caller has left."""
        if not self._is_over:
            self._is_over = True
            self._health.end(self)
            self._observer.ended(self._health.upstream.name, self._outcome or "abandoned")

    def stranded_at(self, now: float) -> float:
        """Return the first moment at which `is_stranded` may be true: worth to look again then."""
        patience_seconds = self._health.patience_seconds()
        silent_since = now - self._health.silent_seconds(now)
        return max(self._begun_at + patience_seconds, silent_since + _STRANDED_FACTOR * patience_seconds)

    def is_stranded(self, now: float) -> bool:
        """Tell whether no answer is to be expected: it waits at an upstream that was silent for far too long.

        What then becomes of it elsewhere is paid for a second time, if the upstream was alive after all.
        """
        is_waiting = self._outcome is None and not self._is_over
        return is_waiting and self._health.silent_seconds(now) > 0 and now >= self.stranded_at(now)


class Health:
    """All that is known; *random* answers numbers from 0 up to 1."""

    def __init__(self, rules: HealthRules, random: Callable[[], float], observer: Observer) -> None:
        self._rules = rules
        self._random = random
        self._observer = observer
        self._targets: OrderedDict[Key, TargetHealth] = OrderedDict()
        self._loads: dict[str, Load] = {}
        self._usual: WeakValueDictionary[str, HeadTime] = WeakValueDictionary()
        self._forced: Mapping[Key, Forced] = {}
        self.processes = 1
        """How many processes share what an upstream may be sent."""

    def of(self, target: Target, now: float) -> TargetHealth:
        """Return what is known of *target*; nothing yet if it, or what it is reached by, is new."""
        key = target.upstream.name, target.model
        known = self._targets.get(key)
        if known is None or not _is_same(known.upstream, target.upstream):
            self._forget_some(now)
            known = self._targets[key] = self._new(target, now)
        known.upstream = known.load.upstream = target.upstream  # its own limits may have changed
        self._targets.move_to_end(key)
        return known

    def standing(self, target: Target, now: float) -> Standing:
        """Return whether a call may go to *target* now."""
        return self.of(target, now).standing(now)

    def begin(self, target: Target, now: float, *, is_again: bool = False) -> Ticket | None:
        """Return the ticket of an attempt that is sent now; None when it must not be sent.

        *is_again* when this call was at this upstream before: that must fit into the upstream's retry budget.
        """
        health = self.of(target, now)
        budget = health.load.retry_budget
        if health.load.free_at(now) > now or health.breaker.ready_at(now) > now:
            return None
        if is_again and not budget.spend(now):
            return None
        if not is_again:
            budget.deposit()
        round_ = health.breaker.begin(now)
        assert round_ is not None, "it was ready a line ago"  # noqa: S101
        ticket = Ticket(health, round_, now, self._rules, self._observer)
        health.begin(ticket, now)
        return ticket

    def targets(self) -> list[TargetHealth]:
        """Return everything that is known."""
        return list(self._targets.values())

    def loads(self) -> Iterable[Load]:
        """Return every upstream that was ever asked, as a whole."""
        return self._loads.values()

    def find(self, key: Key) -> TargetHealth | None:
        """Return what is known by *key*."""
        return self._targets.get(key)

    def force(self, forced: Mapping[Key, Forced], now: float) -> None:
        """Have exactly these breakers open or closed whatever happens."""
        self._forced = dict(forced)
        for key, health in list(self._targets.items()):
            health.breaker.force(self._forced.get(key), now)

    def keep(self, names: Iterable[str]) -> None:
        """Forget the upstreams that are not among *names*."""
        kept = set(names)
        for key in [key for key in self._targets if key[0] not in kept]:
            del self._targets[key]
        for name in [name for name in self._loads if name not in kept]:
            del self._loads[name]

    def _new(self, target: Target, now: float) -> TargetHealth:
        upstream = target.upstream
        load = self._loads.get(upstream.name)
        if load is None:
            budget = RetryBudget(self._rules.retry_budget_percent, self._rules.retries_per_second, now)
            load = self._loads[upstream.name] = Load(upstream, budget, lambda: self.processes)
        usual = self._usual.get(target.model)
        if usual is None:
            usual = self._usual[target.model] = HeadTime()
        breaker = Breaker(self._rules.breaker, self._random, now, lambda: self._observer.changed(health))
        health = TargetHealth(target, self._rules, load, breaker, usual)
        forced = self._forced.get(health.key)
        if forced is not None:
            breaker.force(forced, now)
        return health

    def _forget_some(self, now: float) -> None:
        while len(self._targets) >= _TARGETS_MAX:
            idle = (key for key, health in self._targets.items() if health.is_idle(now))
            self._targets.pop(next(idle, next(iter(self._targets))))


def _is_same(one: Upstream, other: Upstream) -> bool:
    """Tell whether both lead to the same server as the same client: what was learned of one is true of the other."""
    return one is other or (one.base_url, one.api_key) == (other.base_url, other.api_key)
