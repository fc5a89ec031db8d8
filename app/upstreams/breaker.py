"""The circuit breaker of one upstream and model: whether calls may go there now, and why not. Pure.

closed -> open        too many failures, too many slow answers, or nobody there at all
open -> half-open     its time is over; where nobody was there, Weir's own probe must have been answered too
half-open -> closed   a few trial calls were answered;  half-open -> open   one of them failed
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from app.upstreams.rolling_count import RollingCount

State = Literal["closed", "open", "half_open"]
Forced = Literal["closed", "open"]

WINDOW_SECONDS: Final = 10
"""Over which the rates of failures and of slow answers are taken."""
_OPEN_SECONDS_MIN: Final = 1.0
_COOL_DOWN_SECONDS_MIN: Final = 0.25
_COOL_DOWN_SECONDS_MAX: Final = 3_600.0
_UNTOLD_COOL_DOWN_SECONDS_MAX: Final = 8.0


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a breaker opens, for how long, and what closes it again. The settings of the same names explain each."""

    calls_min: int = 10
    error_percent: int = 50
    slow_percent: int = 80
    silent_calls_max: int = 3
    open_seconds: float = 5.0
    open_seconds_max: float = 60.0
    trial_calls: int = 3


class Opening(NamedTuple):
    """That a breaker has opened: what one process tells the others."""

    until: float
    number: int
    """How many there were in a row, which is how its time grows."""
    why: str
    needs_probe: bool


class Breaker:
    """Moments are in seconds on a clock that never goes back; *random* answers numbers from 0 up to 1.

    Every call that `begin` admits belongs to a round, and its result counts only while that round lasts: what was sent
    before the breaker opened says nothing about the trial calls after.
    """

    def __init__(
        self, rules: BreakerRules, random: Callable[[], float], now: float, on_change: Callable[[], None]
    ) -> None:
        self._rules = rules
        self._random = random
        self._on_change = on_change
        self.state: State = "closed"
        """As of the last time that anything was asked; `update` first to have it as of now."""
        self.since = now
        self.until = 0.0
        """When it is to be half-open, if it is open."""
        self.why = ""
        """Why it opened last."""
        self.forced: Forced | None = None
        """What an operator has decided instead."""
        self.needs_probe = False
        """Whether Weir's own probe must be answered before it may be half-open."""
        self.cool_until = 0.0
        """The upstream does not want to be asked until then; no failure."""
        self.wary_until = 0.0
        """The upstream wanted no call, and did not say for how long: others go first until then."""
        self.round = 0
        """How often the state has changed."""
        self._openings = 0
        self._silent_calls = 0
        self._untold_cool_downs = 0
        self._trials_begun_at: list[float] = []
        self._trials_answered = 0
        self._calls = RollingCount(WINDOW_SECONDS)
        self._failures = RollingCount(WINDOW_SECONDS)
        self._slow = RollingCount(WINDOW_SECONDS)

    def update(self, now: float) -> None:
        """Make `state` true of *now*."""
        if self._is_open_by_itself and not self.needs_probe and now >= self.until:
            self._turn("half_open", now)

    def ready_at(self, now: float) -> float:
        """Return when the next call may be sent, as far as is known; *now* if one may be sent now."""
        if self.state == "closed":
            return max(now, self.cool_until)
        self.update(now)
        if self.forced == "open":
            return now + self._rules.open_seconds_max
        if self.state == "open":
            return max(now + _OPEN_SECONDS_MIN if self.needs_probe else now, self.until, self.cool_until)
        return max(now, self._trial_at(now), self.cool_until)

    def begin(self, now: float) -> int | None:
        """Return the round of a call that is sent now, None when none may be sent."""
        if self.ready_at(now) > now:
            return None
        if self.state == "half_open":
            self._trials_begun_at.append(now)
        return self.round

    def take_back(self, round_: int, at: float) -> None:
        """Let another call have the place of one that began at that moment and was not sent."""
        if round_ == self.round and at in self._trials_begun_at:
            self._trials_begun_at.remove(at)

    def succeeded(self, round_: int, now: float, *, is_slow: bool = False) -> None:
        """Count an answer; *is_slow* when its head took too long."""
        self._silent_calls = self._untold_cool_downs = 0
        if round_ != self.round:
            return
        self._calls.add(now)
        if is_slow:
            self._slow.add(now)
        if self.state == "half_open":
            self._trials_answered += 1
            if self._trials_answered >= self._rules.trial_calls:
                self._turn("closed", now)
        elif is_slow:
            self._judge(now)

    def failed(self, round_: int, now: float, why: str, *, is_silent: bool = False) -> None:
        """Count a failure; *is_silent* when there was no answer at all."""
        if round_ != self.round:
            return
        self._silent_calls = self._silent_calls + 1 if is_silent else 0
        self._calls.add(now)
        self._failures.add(now)
        if self.state == "half_open":
            self._open(now, f"a trial call failed: {why}", needs_probe=is_silent)
        elif self._silent_calls >= self._rules.silent_calls_max:
            self._open(now, f"{self._silent_calls} calls in a row without an answer: {why}", needs_probe=True)
        else:
            self._judge(now, why)

    def cool_down(self, now: float, seconds: float | None) -> None:
        """Send nothing for *seconds*; without them be wary for a moment that grows as long as nothing is answered."""
        if seconds is None:
            if now < self.wary_until:  # of many calls at the same time only the first says something new
                return
            seconds = min(_UNTOLD_COOL_DOWN_SECONDS_MAX, _COOL_DOWN_SECONDS_MIN * 2.0**self._untold_cool_downs)
            self._untold_cool_downs = min(self._untold_cool_downs + 1, 10)
            self.wary_until = now + seconds
            return
        self.cool_until = max(self.cool_until, now + min(seconds, _COOL_DOWN_SECONDS_MAX))
        self._on_change()

    def believe_cool_down(self, until: float) -> None:
        """Send nothing until then, because another process was told so."""
        self.cool_until = max(self.cool_until, until)

    def force(self, forced: Forced | None, now: float) -> None:
        """Be open or closed whatever happens, or from now on by itself again, beginning closed."""
        if forced == self.forced:
            return
        self.forced = forced
        self.why = ""
        self._openings = 0
        self.cool_until = self.wary_until = 0.0
        self._turn(forced or "closed", now)

    def opening(self) -> Opening | None:
        """Return what the others are to be told, if it is open by itself."""
        return Opening(self.until, self._openings, self.why, self.needs_probe) if self._is_open_by_itself else None

    def believe(self, opening: Opening, now: float) -> None:
        """Be open because another process has found a reason to be, and try later than it does."""
        if self.forced is not None or now >= opening.until or (self.state == "open" and self.until >= opening.until):
            return
        self.until = opening.until + self._random() * _OPEN_SECONDS_MIN
        self.why, self.needs_probe = opening.why, opening.needs_probe
        self._openings = max(self._openings, opening.number)
        if self.state != "open":
            self._turn("open", now)

    def recover(self, now: float) -> None:
        """Be closed because another process has found that it works again."""
        if self.forced is None and self.state != "closed":
            self._turn("closed", now)

    def wants_probe(self, now: float) -> bool:
        """Tell whether Weir should look by itself whether anybody is there."""
        return self._is_open_by_itself and self.needs_probe and now >= self.until

    def probed(self, now: float, *, is_answered: bool) -> None:
        """Note what such a look has found: half-open is next, or open for longer."""
        if not self.wants_probe(now):
            return
        if is_answered:
            self.needs_probe = False
        else:
            self.until = self._next_until(now)

    def rates(self, now: float) -> tuple[int, int, int]:
        """Return the calls of the last `WINDOW_SECONDS`, and how many of them failed and were slow."""
        return self._calls.total(now), self._failures.total(now), self._slow.total(now)

    def is_idle(self, now: float) -> bool:
        """Tell whether there is nothing about it that must be remembered."""
        is_plain = self.state == "closed" and self.forced is None and now >= max(self.cool_until, self.wary_until)
        return is_plain and not self._calls.total(now) and not self._silent_calls

    @property
    def _is_open_by_itself(self) -> bool:
        return self.state == "open" and self.forced is None

    def _judge(self, now: float, why: str = "") -> None:
        calls, failures, slow = self.rates(now)
        if calls < self._rules.calls_min:
            return
        if failures * 100 >= self._rules.error_percent * calls:
            self._open(now, f"{failures} of {calls} calls failed, the last: {why}")
        elif slow * 100 >= self._rules.slow_percent * calls:
            self._open(now, f"{slow} of {calls} answers were slow")

    def _open(self, now: float, why: str, *, needs_probe: bool = False) -> None:
        if self.forced is not None:
            return
        if self.state == "closed" and now - self.since >= self._rules.open_seconds_max:
            self._openings = 0
        self.why, self.needs_probe = why, needs_probe
        self.until = self._next_until(now)
        self._turn("open", now)

    def _next_until(self, now: float) -> float:
        """Return when an opening ends: full jitter below a ceiling that doubles, so that processes do not march."""
        ceiling = min(self._rules.open_seconds_max, self._rules.open_seconds * 2.0 ** min(self._openings, 20))
        self._openings += 1
        shortest = min(_OPEN_SECONDS_MIN, ceiling)
        return now + shortest + self._random() * (ceiling - shortest)

    def _trial_at(self, now: float) -> float:
        """Return when the next trial call may go: a few at a time, and nobody waits forever for those that hang."""
        self._trials_begun_at = [at for at in self._trials_begun_at if now - at < self._rules.open_seconds]
        if len(self._trials_begun_at) < self._rules.trial_calls:
            return now
        return self._trials_begun_at[0] + self._rules.open_seconds

    def _turn(self, state: State, now: float) -> None:
        self.state = state
        self.since = now
        self.round += 1
        self._silent_calls = self._trials_answered = 0
        self._trials_begun_at.clear()
        if state == "closed":
            self.needs_probe = False
            for count in (self._calls, self._failures, self._slow):
                count.clear()
        self._on_change()
