"""What all processes know of upstreams together: each tells what its breakers do, and believes what the others tell.

While Redis is away each process goes by what it sees itself. No call ever waits for anything here.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from random import random
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

import structlog

from app.core.clock import monotonic_seconds
from app.core.health import Dependency
from app.core.ids import new_id
from app.core.redis import RedisUnavailable
from app.observability.upstream_metrics import UpstreamMetrics
from app.upstreams.breaker import Forced, State
from app.upstreams.breaker_store import BreakerStore, Heard, Note
from app.upstreams.directory import Directory
from app.upstreams.health import Health
from app.upstreams.notes import Message, Said, read
from app.upstreams.routing import Target
from app.upstreams.target_health import HealthRules, Key, TargetHealth

_log: Final = structlog.get_logger()
_EXCHANGE_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.05
"""Between exchanges, however much there is to tell."""
_HERE_SECONDS: Final = 10.0
_REMEMBERED_SECONDS: Final = 60.0
"""How long it is told that something has closed, or was open."""
_SHARED_COOL_DOWN_SECONDS_MIN: Final = 1.0
"""Shorter ones are over before anybody has heard of them."""


class _Said(NamedTuple):
    message: Message
    until: float


class BreakerService:
    """The health of every upstream, shared; hears of every change in it (`app.upstreams.target_health.Observer`)."""

    def __init__(
        self,
        store: BreakerStore,
        directory: Directory,
        rules: HealthRules,
        shared: Dependency,
        metrics: UpstreamMetrics,
    ) -> None:
        self.health = Health(rules, random, self)
        self._store = store
        self._directory = directory
        self._shared = shared
        self._metrics = metrics
        self._process_id = new_id("proc")
        self._said = 0
        self._to_say: dict[str, _Said] = {}
        self._has_news = asyncio.Event()
        self._is_told = False
        self._states: WeakKeyDictionary[TargetHealth, State] = WeakKeyDictionary()
        self._reported: dict[Key, State] = {}
        self._heard: dict[str, tuple[str, int]] = {}

    def changed(self, target: TargetHealth) -> None:
        """Log and tell that a breaker has changed its state, or cools down."""
        breaker = target.breaker
        before = self._states.get(target, "closed")
        self._states[target] = breaker.state
        if breaker.state == before:
            if breaker.cool_until - monotonic_seconds() >= _SHARED_COOL_DOWN_SECONDS_MIN:
                self._say("cooling_down", target, breaker.cool_until)
            return
        self._log_change(target)
        self._metrics.breaker_is(*target.key, breaker.state)
        self._reported[target.key] = breaker.state
        if breaker.opening() is not None:
            self._say("opened", target, breaker.until)
        elif breaker.state == "closed":
            self._say("closed", target, 0.0)

    def ended(self, upstream: str, outcome: str) -> None:
        """Count an attempt."""
        self._metrics.attempt_ended(upstream, outcome)

    def force(self, forced: Mapping[Key, Forced]) -> None:
        """Have exactly these breakers as operators want them; every process learns that by itself."""
        self._is_told = True
        try:
            now = monotonic_seconds()
            self.health.force(forced, now)
            for name, model in forced:
                self._find(name, model, now)
        finally:
            self._is_told = False

    async def keep_shared(self) -> None:
        """Tell and hear once a second, and whenever there is something to tell, until cancelled."""
        while True:
            self._look()
            await self.exchange()
            await asyncio.sleep(_PAUSE_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_news.wait(), _EXCHANGE_SECONDS)

    async def exchange(self) -> None:
        """Tell the others what is new here, and believe what they tell."""
        self._has_news.clear()
        saying, self._to_say = self._to_say, {}
        now = monotonic_seconds()
        here = Message("here", self._process_id)
        notes = [Note(here.name, _HERE_SECONDS, 0.0, here.text())]
        notes += [_note(said, now) for said in saying.values()]
        try:
            heard = await self._store.exchange(notes)
        except RedisUnavailable as error:
            self._to_say = {**saying, **self._to_say}
            self._shared.down(str(error))
            return
        self._shared.up()
        self._hear(heard, monotonic_seconds())

    def _hear(self, heard: Iterable[Heard], now: float) -> None:
        messages = [(note, message) for note in heard if (message := read(note.text)) is not None]
        self.health.processes = max(1, sum(message.said == "here" for _, message in messages))
        known, self._heard = self._heard, {}
        self._is_told = True
        try:
            for note, message in messages:
                self._heard[note.name] = message.by, message.number
                if message.by != self._process_id and known.get(note.name) != self._heard[note.name]:
                    self._believe(message, now + note.ends_in_seconds, now)
        finally:
            self._is_told = False

    def _believe(self, message: Message, until: float, now: float) -> None:
        target = self._find(message.upstream, message.model, now)
        if target is None or target.upstream.base_url != message.base_url:
            return
        if message.said == "opened":
            target.breaker.believe(message.opening(until), now)
        elif message.said == "closed":
            target.breaker.recover(now)
        else:
            target.breaker.believe_cool_down(until)

    def _find(self, name: str, model: str, now: float) -> TargetHealth | None:
        """Return what is known of a model at an upstream that calls go to; None where there is no such upstream."""
        upstream = next((each for each in self._directory.upstreams if each.name == name), None)
        return None if upstream is None else self.health.of(Target(upstream, model), now)

    def _say(self, said: Said, target: TargetHealth, until: float) -> None:
        if self._is_told:
            return
        self._said += 1
        opening = target.breaker.opening()
        upstream = target.upstream
        message = Message(said, self._process_id, self._said, upstream.name, upstream.base_url, target.model)
        if opening is not None:
            message = message._replace(openings=opening.number, why=opening.why, needs_probe=opening.needs_probe)
        self._to_say[message.name] = _Said(message, until)
        self._has_news.set()

    def _look(self) -> None:
        """Forget upstreams that are gone, and have the metrics say how it is now."""
        now = monotonic_seconds()
        self.health.keep(upstream.name for upstream in self._directory.upstreams)
        current: dict[Key, State] = {}
        for target in self.health.targets():
            target.breaker.update(now)
            if target.breaker.state != "closed":
                current[target.key] = target.breaker.state
        for key in self._reported.keys() | current.keys():
            self._metrics.breaker_is(*key, current.get(key, "closed"))
        self._reported = current
        for load in self.health.loads():
            self._metrics.retry_budget_is(load.upstream.name, load.retry_budget.tokens(now))

    def _log_change(self, target: TargetHealth) -> None:
        breaker = target.breaker
        log = _log.warning if breaker.state == "open" else _log.info
        details = {"reason": breaker.why} if breaker.state == "open" and not breaker.forced else {}
        log(
            f"breaker_{'opened' if breaker.state == 'open' else breaker.state}",
            upstream=target.upstream.name,
            model=target.model,
            by="operator" if breaker.forced else "another_process" if self._is_told else "itself",
            **details,
        )


def _note(said: _Said, now: float) -> Note:
    left_seconds = max(0.0, said.until - now)
    stays_seconds = left_seconds if said.message.said == "cooling_down" else left_seconds + _REMEMBERED_SECONDS
    return Note(said.message.name, stays_seconds, left_seconds, said.message.text())
