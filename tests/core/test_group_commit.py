"""Items that arrive together are committed together, each in one batch, whatever happens to the others."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.group_commit import GroupCommit
from tests.fixtures.waiting import until


class Commits:
    """A flush that a test opens and closes, and what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.failures: dict[int, Exception] = {}
        """Batches that fail, by their number."""

    async def flush(self, items: Sequence[int]) -> Sequence[str]:
        self.batches.append(list(items))
        number = len(self.batches) - 1
        await self.gate.wait()
        if number in self.failures:
            raise self.failures[number]
        return [str(item) for item in items]


async def begun(commits: Commits, count: int) -> None:
    """Return when *count* flushes have begun."""
    await until(lambda: len(commits.batches) >= count)


async def test_an_item_alone_is_committed_at_once_and_gets_its_result() -> None:
    commits = Commits()
    commits.gate.set()

    assert await GroupCommit(commits.flush, batch_max=10).submit(7) == "7"


async def test_items_that_arrive_during_a_flush_ride_the_next_one_together_in_order() -> None:
    commits = Commits()
    group = GroupCommit(commits.flush, batch_max=10)
    first = group.submit(0)
    await begun(commits, 1)
    others = [group.submit(item) for item in (1, 2, 3)]

    assert group.pending == 4
    commits.gate.set()

    assert await asyncio.gather(first, *others) == ["0", "1", "2", "3"]
    assert commits.batches == [[0], [1, 2, 3]]
    assert group.pending == 0


async def test_items_that_arrive_in_one_turn_of_the_event_loop_after_another_share_a_batch() -> None:
    commits = Commits()
    commits.gate.set()
    group = GroupCommit(commits.flush, batch_max=10)
    futures: list[asyncio.Future[str]] = []
    for item in range(4):
        futures.append(group.submit(item))
        await asyncio.sleep(0)

    await asyncio.gather(*futures)

    assert commits.batches == [[0, 1, 2, 3]]


async def test_nobody_waits_for_ever_for_those_who_keep_coming() -> None:
    commits = Commits()
    group = GroupCommit(commits.flush, batch_max=1_000)
    futures: list[asyncio.Future[str]] = []
    while not commits.batches:
        futures.append(group.submit(len(futures)))
        await asyncio.sleep(0)
        assert len(futures) < 100
    commits.gate.set()

    await asyncio.gather(*futures)

    assert [item for batch in commits.batches for item in batch] == list(range(len(futures)))


async def test_a_batch_is_never_larger_than_allowed() -> None:
    commits = Commits()
    commits.gate.set()
    group = GroupCommit(commits.flush, batch_max=2)

    await asyncio.gather(*(group.submit(item) for item in range(5)))

    assert commits.batches == [[0, 1], [2, 3], [4]]


async def test_a_batch_that_fails_fails_its_own_items_only() -> None:
    commits = Commits()
    commits.failures[0] = ValueError("no")
    group = GroupCommit(commits.flush, batch_max=2)
    futures = [group.submit(item) for item in range(4)]
    commits.gate.set()

    results = await asyncio.gather(*futures, return_exceptions=True)

    assert results[:2] == [commits.failures[0]] * 2
    assert results[2:] == ["2", "3"]


async def test_a_flush_that_answers_for_too_few_items_fails_the_batch_and_not_the_group() -> None:
    async def flush(items: Sequence[int]) -> Sequence[int]:
        return [] if 0 in items else items

    group = GroupCommit(flush, batch_max=2)
    first, second = group.submit(0), group.submit(1)
    async with asyncio.timeout(5):
        await group.drain()

    assert isinstance(first.exception(), ValueError)
    assert isinstance(second.exception(), ValueError)
    assert await group.submit(2) == 2


@pytest.mark.parametrize("fails", [False, True])
async def test_a_submitter_that_is_cancelled_does_not_take_its_item_back(fails: bool) -> None:
    commits = Commits()
    if fails:
        commits.failures[0] = ValueError("no")
    group = GroupCommit(commits.flush, batch_max=2)
    leaves, stays = group.submit(1), group.submit(2)
    await begun(commits, 1)

    leaves.cancel()
    commits.gate.set()

    [result] = await asyncio.gather(stays, return_exceptions=True)
    assert result == (commits.failures[0] if fails else "2")
    assert commits.batches == [[1, 2]]


@pytest.mark.parametrize(("fails", "result"), [(False, "1"), (True, None)])
async def test_what_became_of_an_item_is_told_when_nobody_waits_for_it_any_more(
    fails: bool, result: str | None
) -> None:
    commits = Commits()
    if fails:
        commits.failures[0] = ValueError("no")
    told: list[tuple[int, str | None]] = []
    group = GroupCommit(commits.flush, batch_max=2, abandoned=lambda item, result: told.append((item, result)))
    leaves, stays = group.submit(1), group.submit(2)
    await begun(commits, 1)

    leaves.cancel()
    commits.gate.set()

    await asyncio.wait([stays])
    assert told == [(1, result)]


async def test_an_item_that_may_wait_is_committed_when_its_time_is_over() -> None:
    commits = Commits()
    commits.gate.set()
    group = GroupCommit(commits.flush, batch_max=10)

    patient = [group.submit(item, within_seconds=0.01) for item in (1, 2)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert not commits.batches

    async with asyncio.timeout(5):
        assert await asyncio.gather(*patient) == ["1", "2"]
    assert commits.batches == [[1, 2]]


async def test_items_that_may_wait_ride_with_the_first_that_may_not() -> None:
    commits = Commits()
    commits.gate.set()
    group = GroupCommit(commits.flush, batch_max=10)
    patient = group.submit(1, within_seconds=600)

    assert await group.submit(2) == "2"

    assert patient.result() == "1"
    assert commits.batches == [[1, 2]]


@pytest.mark.parametrize("hurries", [False, True])
async def test_what_may_wait_is_not_committed_just_because_something_else_has_been(hurries: bool) -> None:
    commits = Commits()
    group = GroupCommit(commits.flush, batch_max=10)
    first = group.submit(1)
    await begun(commits, 1)
    patient = group.submit(2, within_seconds=600)
    if hurries:
        group.hurry()
    commits.gate.set()
    await first
    for _ in range(20):
        await asyncio.sleep(0)

    assert group.pending == (0 if hurries else 1)
    assert patient.done() == hurries
    group.take_pending()


async def test_a_batch_that_is_too_small_for_all_that_waits_is_followed_by_another() -> None:
    commits = Commits()
    commits.gate.set()
    group = GroupCommit(commits.flush, batch_max=2)
    futures = [group.submit(item, within_seconds=600) for item in (1, 2, 3)]

    group.hurry()

    async with asyncio.timeout(5):
        await asyncio.gather(*futures)
    assert commits.batches == [[1, 2], [3]]


async def test_draining_waits_for_nobody_s_patience() -> None:
    commits = Commits()
    commits.gate.set()
    group = GroupCommit(commits.flush, batch_max=10)
    patient = group.submit(1, within_seconds=600)

    async with asyncio.timeout(5):
        await group.drain()

    assert patient.result() == "1"


async def test_giving_up_returns_what_may_wait_too_and_no_timer_begins_with_what_comes_later() -> None:
    commits = Commits()
    commits.gate.set()
    group = GroupCommit(commits.flush, batch_max=10)
    group.submit(1, within_seconds=0.001)
    assert group.take_pending() == [1]

    group.submit(2, within_seconds=600)
    await asyncio.sleep(0.02)

    assert group.pending == 1
    assert not commits.batches
    group.take_pending()


async def test_drain_waits_for_what_arrives_meanwhile_too() -> None:
    commits = Commits()
    group = GroupCommit(commits.flush, batch_max=1)
    group.submit(1)
    draining = asyncio.create_task(group.drain())
    await begun(commits, 1)
    late = group.submit(2)
    commits.gate.set()

    await draining

    assert late.result() == "2"


async def test_draining_an_idle_group_returns_at_once() -> None:
    async with asyncio.timeout(5):
        await GroupCommit(Commits().flush, batch_max=1).drain()


async def test_giving_up_returns_what_is_in_flight_and_what_waits_and_lets_nobody_hang() -> None:
    commits = Commits()
    group = GroupCommit(commits.flush, batch_max=2)
    futures = [group.submit(item) for item in range(5)]
    await begun(commits, 1)

    assert group.take_pending() == [0, 1, 2, 3, 4]

    async with asyncio.timeout(5):
        await asyncio.gather(*futures, return_exceptions=True)
        await group.drain()
    assert all(future.cancelled() for future in futures)
    assert group.pending == 0


async def test_giving_up_before_the_first_flush_began_loses_nothing() -> None:
    group = GroupCommit(Commits().flush, batch_max=2)
    group.submit(1)

    assert group.take_pending() == [1]

    async with asyncio.timeout(5):
        await group.drain()


async def test_after_giving_up_new_items_are_committed_again() -> None:
    commits = Commits()
    group = GroupCommit(commits.flush, batch_max=2)
    group.submit(1)
    await begun(commits, 1)
    group.take_pending()
    commits.gate.set()

    async with asyncio.timeout(5):
        assert await group.submit(2) == "2"
    assert group.take_pending() == []


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=40),
    st.integers(1, 5),
    st.sets(st.integers(0, 40)),
)
def test_whatever_the_arrivals_every_item_is_in_one_batch_in_order_and_learns_its_fate(
    arrivals: list[tuple[int, bool, bool]], batch_max: int, failing: set[int]
) -> None:
    """*arrivals*: how many turns to wait before the next item, whether its submitter leaves, whether it may wait."""
    batches: list[list[int]] = []

    async def flush(items: Sequence[int]) -> Sequence[int]:
        batches.append(list(items))
        number = len(batches)
        for _ in range(number % 3):
            await asyncio.sleep(0)
        if number in failing:
            raise ValueError(number)
        return [-item for item in items]

    results = asyncio.run(_arrive(GroupCommit(flush, batch_max=batch_max), arrivals))

    assert [item for batch in batches for item in batch] == list(range(len(arrivals)))
    assert all(len(batch) <= batch_max for batch in batches)
    for number, batch in enumerate(batches, 1):
        for item in batch:
            if arrivals[item][1]:
                assert isinstance(results[item], asyncio.CancelledError)
            elif number in failing:
                assert isinstance(results[item], ValueError)
            else:
                assert results[item] == -item


async def _arrive(group: GroupCommit[int, int], arrivals: list[tuple[int, bool, bool]]) -> list[int | BaseException]:
    futures = []
    for item, (turns, leaves, is_patient) in enumerate(arrivals):
        for _ in range(turns):
            await asyncio.sleep(0)
        futures.append(group.submit(item, within_seconds=600.0 if is_patient else 0.0))
        if leaves:
            futures[-1].cancel()
    await group.drain()
    assert group.pending == 0
    return await asyncio.gather(*futures, return_exceptions=True)
