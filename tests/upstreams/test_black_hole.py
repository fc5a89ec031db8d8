"""One of three upstreams answers nothing any more: what becomes of the calls, played through on a clock of its own.

Time is simulated, so thousands of calls take a moment, and every run is the same.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from app.upstreams.balance import order
from app.upstreams.failure import of_failure
from app.upstreams.target_health import TargetHealth
from app.upstreams.ticket import Ticket
from tests.upstreams.knowing import make_health, make_plan, make_target

SECONDS = 20.0
HOLE = "hole"
FAILOVER_CONNECT_SECONDS = 0.5
TICK_SECONDS = 0.25
PROBE_SECONDS = 1.0


@dataclass
class Call:
    """One call; it took from `begun_at` to `done_at`."""

    begun_at: float
    tried: list[str] = field(default_factory=list)
    done_at: float | None = None


class World:
    """Calls that come at random, two upstreams that answer, and one that stops to at `hole_from`."""

    def __init__(self, per_second: float, hole_from: float, *, accepts: bool) -> None:
        self.luck = random.Random(11)
        self.accepts = accepts
        self.hole_from = hole_from
        self.health = make_health(random=self.luck.random)
        self.plan = make_plan(*(make_target(name) for name in (HOLE, "a", "b")))
        self.calls: list[Call] = []
        self.waits_at_hole: list[tuple[float, float]] = []
        """When each call there began to wait, and when it stopped."""
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0
        at = 0.0
        while (at := at + self.luck.expovariate(per_second)) < SECONDS:
            call = Call(at)
            self.calls.append(call)
            self.at(at, partial(self.send, call))
        for tick in range(int(2 * SECONDS / TICK_SECONDS)):
            self.at(tick * TICK_SECONDS, self.probe)

    def at(self, moment: float, what: Callable[[float], None]) -> None:
        self._count += 1
        heapq.heappush(self._agenda, (moment, self._count, what))

    def run(self) -> None:
        while self._agenda:
            moment, _, what = heapq.heappop(self._agenda)
            what(moment)

    def probe(self, now: float) -> None:
        for known in self.health.targets():
            if known.breaker.wants_probe(now) or known.is_suspect(now):
                is_answered = known.upstream.name != HOLE or now < self.hole_from
                self.at(now + PROBE_SECONDS, partial(self.probed, known, is_answered))

    def probed(self, known: TargetHealth, is_answered: bool, now: float) -> None:
        known.probed(now, is_answered=is_answered)

    def send(self, call: Call, now: float) -> None:
        found = order(self.plan, lambda target: self.health.standing(target, now), self.luck.random)
        target = next(target for target in found.targets if target.upstream.name not in call.tried)
        call.tried.append(target.upstream.name)
        ticket = self.health.begin(target, now)
        assert ticket is not None
        if target.upstream.name == HOLE and now >= self.hole_from:
            self.fall(call, ticket, now)
        else:
            self.at(now + self.luck.lognormvariate(-2.0, 0.4), lambda then: self.answer(call, ticket, then))

    def fall(self, call: Call, ticket: Ticket, now: float) -> None:
        since = now

        def move_on(then: float) -> None:
            if self.accepts and not ticket.is_stranded(then):
                self.at(max(then, ticket.stranded_at(then)) + 0.001, move_on)
                return
            ticket.failed(of_failure("timed_out" if self.accepts else "not_sent"), then)
            ticket.end()
            self.waits_at_hole.append((since, then))
            self.send(call, then)

        self.at(now + (0.0 if self.accepts else FAILOVER_CONNECT_SECONDS), move_on)

    def answer(self, call: Call, ticket: Ticket, now: float) -> None:
        ticket.head(now)
        ticket.end()
        call.done_at = now

    def p99(self, *, after: float = 0.0) -> float:
        took = sorted((call.done_at or 1e9) - call.begun_at for call in self.calls if call.begun_at >= after)
        return took[int(len(took) * 0.99)]


@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize(("per_second", "hole_from"), [(20.0, 0.0), (20.0, 8.0), (80.0, 8.0)])
def test_after_the_first_second_no_call_waits_on_a_black_hole(
    per_second: float, hole_from: float, accepts: bool
) -> None:
    healthy = World(per_second, SECONDS, accepts=accepts)
    healthy.run()
    world = World(per_second, hole_from, accepts=accepts)
    world.run()
    settled = hole_from + 1.5

    assert all(call.done_at is not None for call in world.calls)
    assert all(since < settled and until < settled + 0.5 for since, until in world.waits_at_hole)
    assert world.p99(after=settled) < 2 * healthy.p99()
    assert len(world.waits_at_hole) < per_second / 2


def test_a_lone_call_that_takes_its_time_is_left_alone_while_the_upstream_lives() -> None:
    health = make_health()
    target = make_target("a")
    ticket = health.begin(target, 0.0)
    assert ticket is not None
    known = health.of(target, 0.0)
    assert not known.is_suspect(0.5)
    assert known.is_suspect(0.6)
    known.probed(0.7, is_answered=True)
    assert (known.is_suspect(1.0), known.is_suspect(1.1)) == (False, True)
    known.probed(1.1, is_answered=True)
    assert (known.is_suspect(2.0), known.is_suspect(2.1)) == (False, True)
    assert (known.is_stalled(300.0), ticket.is_stranded(300.0)) == (False, False)

    known.probed(301.0, is_answered=False)
    assert (known.is_stalled(301.0), ticket.is_stranded(301.0)) == (True, True)
    assert not known.is_suspect(301.0)
    ticket.head(302.0)
    late = health.begin(target, 302.0)
    assert late is not None
    assert not known.is_stalled(303.0)
