"""The counters of limits in Redis. May lose them at any moment, which loosens limits for a window, never more.

Calls that come and go together share one run of a script. While Redis is away nobody waits for it: it is asked again
beside the calls, and after each relapse less soon.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.core.clock import monotonic_seconds
from app.core.group_commit import GroupCommit
from app.core.health import Dependency
from app.core.ids import new_id
from app.core.redis import Redis, RedisUnavailable, Script
from app.limits.amounts import NOTHING
from app.limits.lease import Charge, Lease, OpenLeases, Refused, Standing, Verdict
from app.limits.limit import BUCKETS, KEY_PREFIX

_ACQUIRE, _BEAT = (
    Script(Path(__file__).with_name("scripts").joinpath(f"{name}.lua").read_text("utf-8"))
    for name in ("acquire", "beat")
)
_NEVER: Final = 2**53
_UNKNOWN: Final = 2**52
_BATCH_MAX: Final = 64
_PROCESSES: Final = f"{KEY_PREFIX}processes"
_LEASE_MS: Final = 30_000
"""How long the place of a call outlives its process, and how long a process is counted that says no more."""
_BEAT_SECONDS: Final = 5.0
_BEAT_TIMEOUT_SECONDS: Final = 1.0
"""Nobody waits for a beat, so it may take longer than a call may."""
_END_WITHIN_SECONDS: Final = 0.02
"""For how long the end of a call that others hardly miss may wait for the next call, whose script run it shares."""
_LEASES_PER_BEAT: Final = 500
_RETRY_SECONDS_MIN: Final = 0.5
_RETRY_SECONDS_MAX: Final = 30.0
_STEADY_SECONDS: Final = 60.0
"""Redis that was there for so long is trusted again: its next loss is no relapse."""


@dataclass(slots=True)
class _Asked:
    lease_id: str
    charges: Sequence[Charge]


@dataclass(slots=True)
class _Ended:
    lease: Lease
    corrections: Sequence[int]


class LimitStore:
    """Acquires and adjusts in Redis; its health says whether that works."""

    def __init__(self, redis: Redis, health: Dependency, open_leases: OpenLeases, timeout_seconds: float) -> None:
        self._redis = redis
        self.health = health
        self._open = open_leases
        self._timeout_seconds = timeout_seconds
        # A Verdict for what is asked, None for what has ended.
        self._group: GroupCommit[_Asked | _Ended, Any] = GroupCommit(
            self._run_group, batch_max=_BATCH_MAX, abandoned=self._undo
        )
        self._process_id = new_id("proc")
        self._lost = asyncio.Event()
        self._back_at = -_STEADY_SECONDS
        self._retry_seconds = _RETRY_SECONDS_MIN
        self.processes = 1
        """How many processes there were when Redis was last asked."""
        self.now_ms: int | None = None
        """What time it is for the script; None for Redis's own clock. Only tests set it."""

    def acquire(self, lease_id: str, charges: Sequence[Charge]) -> "asyncio.Future[Verdict]":
        """Return what the limits say, soon; the future raises RedisUnavailable. Admitted, the call is counted.

        Unless nobody waits for the future any more: then it is counted nowhere, soon.
        """
        return self._group.submit(_Asked(lease_id, charges))

    def look(self, charges: Sequence[Charge]) -> "asyncio.Future[Verdict]":
        """Return what `acquire` would say; nothing is counted."""
        return self._group.submit(_Asked("", charges))

    def end(self, lease: Lease, corrections: Sequence[int]) -> None:
        """Correct what *lease* counts and end its place among concurrent calls, soon; not while Redis is away."""
        if self.health.is_up:
            within_seconds = 0.0 if lease.is_missed() else _END_WITHIN_SECONDS
            self._group.submit(_Ended(lease, corrections), within_seconds=within_seconds)

    async def beat(self) -> None:
        """Say that this process and its leases go on; learns whether Redis is there, and how many processes are."""
        members = self._open.members()
        parts = [members[at : at + _LEASES_PER_BEAT] for at in range(0, len(members), _LEASES_PER_BEAT)] or [[]]
        timeout_seconds = max(_BEAT_TIMEOUT_SECONDS, self._timeout_seconds)
        try:
            for each in parts:
                part = [member for member in each if self._open.has(*member)]
                keys = [_PROCESSES, *(key for key, _ in part)]
                arguments: list[str | int] = [
                    self._process_id,
                    _LEASE_MS,
                    _LEASE_MS,
                    *(lease_id for _, lease_id in part),
                ]
                self.processes = await self._redis.run(_BEAT, keys, arguments, timeout_seconds)
        except RedisUnavailable as error:
            self._down(error)
        else:
            self._up()

    async def keep_alive(self) -> None:
        """Beat until cancelled: now and then, and while Redis is away until it is back."""
        while True:
            self._lost.clear()
            await self.beat()
            if self.health.is_up:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._lost.wait(), _BEAT_SECONDS)
            if not self.health.is_up:
                await asyncio.sleep(self._retry_seconds)

    async def close(self) -> None:
        """Finish what is on its way."""
        await self._group.drain()

    def _down(self, error: RedisUnavailable) -> None:
        if self.health.is_up:
            is_relapse = monotonic_seconds() - self._back_at < _STEADY_SECONDS
            self._retry_seconds = min(_RETRY_SECONDS_MAX, self._retry_seconds * 2) if is_relapse else _RETRY_SECONDS_MIN
            self._lost.set()
        self.health.down(str(error))

    def _up(self) -> None:
        if not self.health.is_up:
            self._back_at = monotonic_seconds()
        self.health.up()

    def _undo(self, item: _Asked | _Ended, verdict: Verdict | None) -> None:
        """Give back what was acquired for a caller who left meanwhile."""
        if isinstance(item, _Asked) and item.lease_id and verdict is not None and verdict.refused is None:
            lease = Lease.of(item.lease_id, item.charges, verdict)
            self.end(lease, lease.corrections(NOTHING))

    async def _run_group(self, items: Sequence[_Asked | _Ended]) -> Sequence[Verdict | None]:
        asked = [item for item in items if isinstance(item, _Asked)]
        ended = [item for item in items if isinstance(item, _Ended)]
        counters: dict[str, int] = {}
        limits: list[str | int] = []
        calls: list[str | int] = []
        # First those to admit: how a limit is now is what they know, not those that were admitted long ago.
        for call in asked:
            calls += (call.lease_id, len(call.charges))
            for charge in call.charges:
                calls += (_place(charge, counters, limits), charge.cost)
        over: list[str | int] = []
        for each in ended:
            _add_ended(each, over, counters, limits)
        keys = list(counters)
        now_ms = "" if self.now_ms is None else self.now_ms
        arguments = [BUCKETS, _LEASE_MS, now_ms, len(ended), *limits, *over, *calls]
        if not keys:
            return [None] * len(items)
        answers = iter(await self._run(_ACQUIRE, keys, arguments))
        return [_verdict(next(answers)) if isinstance(item, _Asked) else None for item in items]

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        if not self.health.is_up:
            raise RedisUnavailable(self.health.reason or "")
        try:
            return await self._redis.run(script, keys, arguments, self._timeout_seconds)
        except RedisUnavailable as error:
            self._down(error)
            raise


def _place(charge: Charge, counters: dict[str, int], limits: list[str | int]) -> int:
    """Return the place of a charge's counter among the *counters* of a group, whose *limits* are told once."""
    place = counters.get(charge.key)
    if place is None:
        place = counters[charge.key] = len(counters) + 1
        limit = charge.limit
        limits += (limit.step_ms, limit.maximum, int(limit.mode == "enforcing"))
    return place


def _add_ended(each: _Ended, over: list[str | int], counters: dict[str, int], limits: list[str | int]) -> None:
    lease = each.lease
    wanted: list[int] = []
    for charge, amount in zip(lease.charges, each.corrections, strict=True):
        # What a share of this process counted is not in Redis; but its place among concurrent calls may be.
        if charge.limit.per is None or (amount and not lease.is_local):
            wanted += (_place(charge, counters, limits), amount)
    over += (lease.id, lease.at_ms, len(wanted) // 2, *wanted)


def _verdict(answer: Sequence[int]) -> Verdict:
    refused_by, wait_ms, at_ms = answer[:3]
    standings = [Standing(answer[at], answer[at + 1], bool(answer[at + 2])) for at in range(3, len(answer), 3)]
    refused = None
    if refused_by:
        refused = Refused(refused_by - 1, None if wait_ms >= _UNKNOWN else wait_ms, wait_ms >= _NEVER)
    return Verdict(standings, at_ms, refused, any(answer[5::3]))
