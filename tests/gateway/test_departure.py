"""What a departing client cancels, and what it must not."""

import asyncio

import pytest

from app.gateway.router import departure_cancels
from app.observability.context import CallContext


class Client:
    """The client's end of an ASGI `receive`."""

    def __init__(self) -> None:
        self.has_left = asyncio.Event()

    async def receive(self) -> dict[str, str]:
        await self.has_left.wait()
        return {"type": "http.disconnect"}


def new_context() -> CallContext:
    return CallContext("req_test", 0.0, "POST", "/v1/chat/completions")


async def test_a_departure_ends_what_runs_inside_and_nothing_else() -> None:
    client, context = Client(), new_context()
    async with departure_cancels(client.receive, context):
        client.has_left.set()
        await asyncio.Event().wait()
    assert context.client_left
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


@pytest.mark.parametrize("has_left", [False, True])
async def test_a_cancellation_by_somebody_else_goes_on_its_way(has_left: bool) -> None:
    client, context, inside = Client(), new_context(), asyncio.Event()

    async def call() -> None:
        async with departure_cancels(client.receive, context):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await inside.wait()
    task.cancel()
    if has_left:
        client.has_left.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not context.client_left


async def test_an_error_inside_goes_on_its_way_and_the_watcher_ends() -> None:
    client, context = Client(), new_context()
    with pytest.raises(KeyError):
        async with departure_cancels(client.receive, context):
            raise KeyError
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "departure"]
    assert not context.client_left
