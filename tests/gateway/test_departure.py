"""What a departing client cancels, and what it must not."""

import asyncio

import pytest

from app.core.departure import SCOPE_KEY, Departure
from app.gateway.router import departure_cancels
from app.observability.context import CallContext


def new_context() -> CallContext:
    return CallContext("req_test", 0.0, "POST", "/v1/chat/completions")


async def test_a_departure_ends_what_runs_inside_and_nothing_else() -> None:
    departure, context = Departure(), new_context()
    async with departure_cancels({SCOPE_KEY: departure}, context):
        departure.happen()
        await asyncio.Event().wait()
    assert context.client_left
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


@pytest.mark.parametrize("has_left", [False, True])
async def test_a_cancellation_by_somebody_else_goes_on_its_way(has_left: bool) -> None:
    departure, context, inside = Departure(), new_context(), asyncio.Event()

    async def call() -> None:
        async with departure_cancels({SCOPE_KEY: departure}, context):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await inside.wait()
    task.cancel()
    if has_left:
        departure.happen()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not context.client_left


async def test_who_has_left_before_is_noticed_at_once() -> None:
    departure, context = Departure(), new_context()
    departure.happen()
    async with departure_cancels({SCOPE_KEY: departure}, context):
        await asyncio.Event().wait()
    assert context.client_left


async def test_an_error_inside_goes_on_its_way_and_nobody_listens_any_more() -> None:
    departure, context = Departure(), new_context()
    with pytest.raises(KeyError):
        async with departure_cancels({SCOPE_KEY: departure}, context):
            raise KeyError
    departure.happen()
    await asyncio.sleep(0)  # where a cancellation would arrive
    assert not context.client_left
