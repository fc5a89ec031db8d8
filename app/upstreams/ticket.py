"""One attempt that was sent, until nothing more comes of it: what it tells of its upstream. Pure."""

from typing import Final

from app.upstreams.failure import Verdict
from app.upstreams.target_health import HealthRules, Observer, TargetHealth

_STRANDED_FACTOR: Final = 1.5


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

    def sent(self, now: float) -> None:
        """Note that it is sent only now: what went before, such as a wait for money, was not its upstream's."""
        self._begun_at = now
        self._health.sent(self, now)

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

    def take_back(self) -> None:
        """Note that it was not sent after all, and end it: it counts in nothing that the upstream may be sent."""
        if not self._is_over:
            self._is_over = True
            self._health.end(self)
            self._health.load.take_back(self._begun_at)
            self._health.breaker.take_back(self._round, self._begun_at)

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
