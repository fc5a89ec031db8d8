"""What a process knows of its open reservations: which they are, when one ends, and how soon that is."""

import asyncio
from uuid import uuid4

import pytest

from app.budgets.hold_service import Holds


class Clock:
    """Seconds that go by when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("app.budgets.hold_service.monotonic_seconds", clock)
    return clock


def hold_for(holds: Holds, clock: Clock, seconds: float) -> None:
    reservation_id = uuid4()
    holds.begin(reservation_id)
    clock.seconds += seconds
    holds.end(reservation_id)


def test_who_is_told_to_wait_is_told_the_average_of_about_the_last_ten_holds(clock: Clock) -> None:
    holds = Holds()
    assert holds.retry_after_ms == 50
    hold_for(holds, clock, 10)
    assert holds.retry_after_ms == 1_000
    hold_for(holds, clock, 11)
    assert holds.retry_after_ms == 2_000
    hold_for(holds, clock, 1)
    assert holds.retry_after_ms == 1_900


def test_nobody_is_told_to_wait_for_less_than_a_moment_or_longer_than_half_a_minute(clock: Clock) -> None:
    holds = Holds()
    hold_for(holds, clock, 0.1)
    assert holds.retry_after_ms == 50
    hold_for(holds, clock, 10_000)
    assert holds.retry_after_ms == 30_000


def test_a_hold_is_measured_from_its_first_beginning_and_ends_once(clock: Clock) -> None:
    holds, reservation_id = Holds(), uuid4()
    holds.begin(reservation_id)
    clock.seconds += 9
    holds.begin(reservation_id)
    clock.seconds += 1
    holds.end(reservation_id)
    clock.seconds += 1_000
    holds.end(reservation_id)
    assert holds.retry_after_ms == 1_000


def test_what_was_never_made_is_no_hold(clock: Clock) -> None:
    holds, reservation_id = Holds(), uuid4()
    holds.begin(reservation_id)
    clock.seconds += 10
    holds.forget(reservation_id)
    holds.end(reservation_id)
    assert holds.retry_after_ms == 50


def test_strays_are_those_that_never_began_or_have_ended() -> None:
    holds = Holds()
    open_id, ended, forgotten, foreign = (uuid4() for _ in range(4))
    for reservation_id in (open_id, ended, forgotten):
        holds.begin(reservation_id)
    holds.end(ended)
    holds.forget(forgotten)
    assert holds.find_unknown([open_id, ended, forgotten, foreign]) == [ended, forgotten, foreign]


async def test_every_end_wakes_all_who_wait_then_and_nobody_who_comes_later() -> None:
    holds = Holds()
    for _ in range(2):
        waiting = [asyncio.create_task(holds.wait_for_return(60)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        holds.forget(uuid4())  # nothing has come back
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        holds.end(uuid4())
        async with asyncio.timeout(20):
            await asyncio.gather(*waiting)


async def test_who_waits_in_vain_goes_on() -> None:
    async with asyncio.timeout(20):
        await Holds().wait_for_return(0.001)
