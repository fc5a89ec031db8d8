"""What this process knows of every upstream and model, and which of them may be sent something now. Pure.

Models are names that callers choose, so what is known is bounded: the least recently used is forgotten first.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final
from weakref import WeakValueDictionary

from app.upstreams.breaker import Breaker, Forced
from app.upstreams.head_time import HeadTime
from app.upstreams.load import Load
from app.upstreams.retry_budget import RetryBudget
from app.upstreams.routing import Target, Upstream
from app.upstreams.target_health import HealthRules, Key, Observer, Standing, TargetHealth
from app.upstreams.ticket import Ticket

_TARGETS_MAX: Final = 1_000


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
        if health.load.free_at(now) > now:
            return None
        if is_again and (health.breaker.ready_at(now) > now or not budget.spend(now)):
            return None
        round_ = health.breaker.begin(now)
        if round_ is None:
            return None
        if not is_again:
            budget.deposit()
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
