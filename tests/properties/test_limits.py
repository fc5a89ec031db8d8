"""Limits against a plain model of a sliding window: the same calls, a clock that the test sets, every answer compared.

The model keeps each admitted call with its moment. In any window there is never more than the limit; a call is refused
only if it would not fit into a window that is one step (a hundredth) longer; waiting as long as is said is enough, and
a millisecond less is not.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.limits.lease import Charge, Lease, OpenLeases, Verdict
from app.limits.limit import Limit
from app.limits.share import Share
from app.limits.store import LimitStore
from tests.fixtures.limits import charges, make_limit

START_MS = 1_800_000_000_123


class Call(NamedTuple):
    """Advance the clock, then ask for *cost*; refused, perhaps come back as early as was said."""

    advance_ms: int
    cost: int
    comes_back: bool
    gives_back: int
    """Of its cost, once it is admitted; as a call that used less than was estimated."""


class Counters(Protocol):
    """What is tested: Redis, or the share of a process."""

    async def acquire(self, asked: Sequence[Charge], now_ms: int) -> Verdict: ...

    async def correct(self, lease: Lease, corrections: Sequence[int]) -> None: ...


class InRedis:
    def __init__(self, store: LimitStore) -> None:
        self._store = store

    async def acquire(self, asked: Sequence[Charge], now_ms: int) -> Verdict:
        self._store.now_ms = now_ms
        return await self._store.acquire("lease", asked)

    async def correct(self, lease: Lease, corrections: Sequence[int]) -> None:
        self._store.end(lease, corrections)
        await self._store.close()


class InShare:
    def __init__(self) -> None:
        self._share = Share(OpenLeases())

    async def acquire(self, asked: Sequence[Charge], now_ms: int) -> Verdict:
        return self._share.acquire(asked, 1, now_ms)

    async def correct(self, lease: Lease, corrections: Sequence[int]) -> None:
        self._share.correct(lease, corrections)


class Model:
    """A log of what was admitted when: (moment, amount)."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self.limits = limits
        self.admitted: list[list[int]] = []

    def used(self, window_ms: int, now_ms: int) -> int:
        return sum(amount for at, amount in self.admitted if now_ms - at < window_ms)

    def fits(self, cost: int, now_ms: int, *, longer: bool) -> bool:
        return all(
            self.used(limit.window_ms + longer * limit.step_ms, now_ms) + cost <= limit.maximum for limit in self.limits
        )


windows = st.sampled_from(["second", "minute", "hour", "day"])
limit_lists = st.lists(st.builds(make_limit, per=windows, maximum=st.integers(0, 12)), min_size=1, max_size=3)
pauses = st.one_of(
    st.integers(0, 30), st.integers(0, 2_000), st.integers(0, 130_000), st.sampled_from([999, 1_000, 1_010, 60_000])
)
calls = st.lists(
    st.builds(Call, pauses, st.integers(1, 6), st.booleans(), st.integers(0, 6)),
    min_size=1,
    max_size=25,
)


async def check(counters: Counters, limits: Sequence[Limit], story: Sequence[Call]) -> None:
    model, now_ms = Model(limits), START_MS
    for call in story:
        now_ms += call.advance_ms
        asked = charges(limits, call.cost)
        verdict = await counters.acquire(asked, now_ms)
        if verdict.refused is not None:
            assert not model.fits(call.cost, now_ms, longer=True)
            assert verdict.refused.is_forever == any(call.cost > limit.maximum for limit in limits)
            if not call.comes_back or verdict.refused.wait_ms is None:
                continue
            early = await counters.acquire(asked, now_ms + verdict.refused.wait_ms - 1)
            assert early.refused is not None
            now_ms += verdict.refused.wait_ms
            verdict = await counters.acquire(asked, now_ms)
        assert verdict.refused is None
        assert model.fits(call.cost, now_ms, longer=False)
        model.admitted.append([now_ms, call.cost])
        for limit, standing in zip(limits, verdict.standings, strict=True):
            shortest = limit.maximum - model.used(limit.window_ms, now_ms)
            longest = limit.maximum - model.used(limit.window_ms + limit.step_ms, now_ms)
            assert longest <= standing.remaining <= shortest
            assert limit.window_ms < standing.reset_ms <= limit.window_ms + limit.step_ms
        if given_back := min(call.gives_back, call.cost):
            lease = Lease("lease", asked, verdict.standings, verdict.at_ms, is_local=False)
            await counters.correct(lease, [-given_back] * len(limits))
            model.admitted[-1][1] -= given_back
    far = now_ms + 2 * 86_400_000
    looked = await counters.acquire(charges(limits, 0), far)
    assert [standing.remaining for standing in looked.standings] == [limit.maximum for limit in limits]


@settings(max_examples=75)
@given(limits=limit_lists, story=calls)
async def test_redis_admits_what_the_model_admits(
    shared_limit_store: LimitStore, limits: list[Limit], story: list[Call]
) -> None:
    try:
        await check(InRedis(shared_limit_store), limits, story)
    finally:
        shared_limit_store.now_ms = None


@settings(max_examples=75)
@given(limits=limit_lists, story=calls)
async def test_the_share_of_a_process_admits_what_the_model_admits(limits: list[Limit], story: list[Call]) -> None:
    await check(InShare(), limits, story)


@pytest.mark.parametrize("processes", [2, 3, 7])
@given(maximum=st.integers(1, 40), attempts=st.integers(1, 60))
async def test_shares_add_up_to_the_limit_or_one_for_each(processes: int, maximum: int, attempts: int) -> None:
    limit = make_limit(maximum=maximum)
    admitted = 0
    for share in [Share(OpenLeases()) for _ in range(processes)]:
        answers = [share.acquire(charges([limit]), processes, START_MS) for _ in range(attempts)]
        admitted += sum(answer.refused is None for answer in answers)
    assert admitted <= max(maximum, processes)
