"""The circuit breaker against a plain model, which keeps the whole story and counts it anew for every question."""

from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.upstreams.breaker import WINDOW_SECONDS, Breaker, BreakerRules, Opening

RULES = BreakerRules(calls_min=4, open_seconds=4.0, open_seconds_max=16.0, trial_calls=2)
LUCK = 0.5


class Result(NamedTuple):
    second: int
    failed: bool
    silent: bool
    slow: bool


class Model:
    """What the documentation says, written without regard to speed."""

    def __init__(self) -> None:
        self.state = "closed"
        self.since = 0.0
        self.until = 0.0
        self.forced: str | None = None
        self.needs_probe = False
        self.cool_until = 0.0
        self.round = 0
        self.openings = 0
        self.story: list[Result] = []
        """Results since the state changed last."""
        self.run = 0
        self.trials: list[float] = []

    def turn(self, state: str, now: float) -> None:
        self.state, self.since, self.round = state, now, self.round + 1
        self.run, self.trials = 0, []
        if state == "closed":
            self.needs_probe, self.story = False, []

    def open(self, now: float, *, needs_probe: bool) -> None:
        if self.forced is None:
            if self.state == "closed" and now - self.since >= RULES.open_seconds_max:
                self.openings = 0
            self.needs_probe = needs_probe
            self.until = self.next_until(now)
            self.turn("open", now)

    def next_until(self, now: float) -> float:
        ceiling = min(RULES.open_seconds_max, RULES.open_seconds * 2.0**self.openings)
        self.openings += 1
        return now + 1.0 + LUCK * (ceiling - 1.0)

    def look(self, now: float) -> None:
        if self.state == "open" and self.forced is None and not self.needs_probe and now >= self.until:
            self.turn("half_open", now)

    def may_begin(self, now: float) -> bool:
        self.look(now)
        if now < self.cool_until or self.state == "open":
            return False
        recent = [at for at in self.trials if now - at < RULES.open_seconds]
        return self.state == "closed" or len(recent) < RULES.trial_calls

    def recent(self, now: float) -> list[Result]:
        return [result for result in self.story if int(now) - result.second < WINDOW_SECONDS]


class BreakerMachine(RuleBasedStateMachine):
    """Calls that begin and end in any order, probes, cool-downs, other processes and operators."""

    @initialize()
    def begin_story(self) -> None:
        self.now = 0.0
        self.changes = 0
        self.breaker = Breaker(RULES, lambda: LUCK, 0.0, self.count_change)
        self.model = Model()
        self.open_rounds: list[int] = []
        self.answered = 0

    def count_change(self) -> None:
        self.changes += 1

    @rule(seconds=st.one_of(st.sampled_from([0.25, 1.0, 4.0]), st.floats(0, 30, width=16)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_call_begins(self) -> None:
        may = self.model.may_begin(self.now)
        assert (self.breaker.ready_at(self.now) <= self.now) == may

        round_ = self.breaker.begin(self.now)

        assert (round_ is not None) == may
        if round_ is not None:
            assert round_ == self.model.round
            self.open_rounds.append(round_)
            if self.model.state == "half_open":
                if not self.model.trials:
                    self.answered = 0
                self.model.trials.append(self.now)

    @precondition(lambda self: self.open_rounds)
    @rule(data=st.data(), kind=st.sampled_from(["good", "good", "slow", "failed", "silent", "left"]))
    def a_call_ends(self, data: st.DataObject, kind: str) -> None:
        model = self.model
        round_ = self.open_rounds.pop(data.draw(st.integers(0, len(self.open_rounds) - 1)))
        if kind == "left":
            return
        if kind in ("good", "slow"):
            model.run = 0
            self.breaker.succeeded(round_, self.now, is_slow=kind == "slow")
        else:
            self.breaker.failed(round_, self.now, "why", is_silent=kind == "silent")
        if round_ != model.round:
            return
        is_failure = kind in ("failed", "silent")
        model.story.append(Result(int(self.now), is_failure, kind == "silent", kind == "slow"))
        model.run = model.run + 1 if kind == "silent" else 0
        if model.state == "half_open":
            self.a_trial_ends(is_failure=is_failure, is_silent=kind == "silent")
        elif model.run >= RULES.silent_calls_max:
            model.open(self.now, needs_probe=True)
        elif kind != "good":
            self.judge()

    def a_trial_ends(self, *, is_failure: bool, is_silent: bool) -> None:
        if is_failure:
            self.model.open(self.now, needs_probe=is_silent)
            return
        self.answered += 1
        if self.answered >= RULES.trial_calls:
            self.model.turn("closed", self.now)

    def judge(self) -> None:
        recent = self.model.recent(self.now)
        failed = sum(result.failed for result in recent)
        slow = sum(result.slow for result in recent)
        is_too_much = failed * 100 >= RULES.error_percent * len(recent) or slow * 100 >= RULES.slow_percent * len(
            recent
        )
        if len(recent) >= RULES.calls_min and is_too_much:
            self.model.open(self.now, needs_probe=False)

    @rule(is_answered=st.booleans())
    def weir_probes(self, is_answered: bool) -> None:
        model = self.model
        wanted = model.state == "open" and model.forced is None and model.needs_probe and self.now >= model.until
        assert self.breaker.wants_probe(self.now) == wanted

        self.breaker.probed(self.now, is_answered=is_answered)

        if wanted and is_answered:
            model.needs_probe = False
        elif wanted:
            model.until = model.next_until(self.now)

    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0]))
    def the_upstream_wants_rest(self, seconds: float) -> None:
        self.breaker.cool_down(self.now, seconds)
        self.model.cool_until = max(self.model.cool_until, self.now + seconds)

    @rule(seconds=st.floats(-5, 20, width=16), needs_probe=st.booleans())
    def another_process_opens(self, seconds: float, needs_probe: bool) -> None:
        model, until = self.model, self.now + seconds
        self.breaker.believe(Opening(until, 1, "elsewhere", needs_probe), self.now)
        if model.forced is None and until > self.now and not (model.state == "open" and model.until >= until):
            model.until, model.needs_probe, model.openings = until + LUCK, needs_probe, max(model.openings, 1)
            if model.state != "open":
                model.turn("open", self.now)

    @rule()
    def another_process_closes(self) -> None:
        self.breaker.recover(self.now)
        if self.model.forced is None and self.model.state != "closed":
            self.model.turn("closed", self.now)

    @rule(forced=st.sampled_from(["open", "closed", None]))
    def an_operator_decides(self, forced: "str | None") -> None:
        model = self.model
        self.breaker.force(forced, self.now)  # type: ignore[arg-type]
        if forced != model.forced:
            model.forced, model.openings, model.cool_until = forced, 0, 0.0
            model.turn(forced or "closed", self.now)

    @invariant()
    def both_say_the_same(self) -> None:
        model, breaker = self.model, self.breaker
        model.look(self.now)
        breaker.update(self.now)
        assert (breaker.state, breaker.round, breaker.forced) == (model.state, model.round, model.forced)
        assert breaker.needs_probe == model.needs_probe
        if model.state == "open" and model.forced is None:
            assert breaker.until == model.until
            opening = breaker.opening()
            assert opening is not None
            assert opening[:2] == (model.until, model.openings)
        else:
            assert breaker.opening() is None
        assert breaker.rates(self.now)[0] == len(model.recent(self.now))

    @invariant()
    def it_says_when_a_call_may_go_and_then_it_may(self) -> None:
        if self.breaker.forced != "open" and not self.breaker.needs_probe and self.breaker.state != "open":
            assert self.model.may_begin(self.breaker.ready_at(self.now))

    @invariant()
    def every_change_was_said(self) -> None:
        assert self.changes >= self.breaker.round


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
