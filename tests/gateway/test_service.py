"""The life of a call below HTTP: every attempt that was sent ends once, whatever ends it."""

import asyncio
from typing import Any

import orjson
import pytest

from app.core.clock import utc_now
from app.core.ids import new_id, new_uuid7
from app.gateway.answer import Answer, Inbound
from app.gateway.attempt import Attempt
from app.gateway.operations.chat import ChatCompletions
from app.keys.caller import Caller
from app.observability.context import CallContext
from tests.fixtures.weir import RunningWeir

CHAT = ChatCompletions()
HELLO: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}


async def run(weir: RunningWeir, script: str, *, stream: bool) -> Answer:
    caller: Caller = await weir.wiring.keys.authenticate(weir.api_key)
    request = CHAT.read(orjson.dumps({**HELLO, "stream": stream}), {})
    context = CallContext(new_id("req"), 0.0, "POST", "/v1/chat/completions")
    headers = [(b"x-simulator", script.encode())]
    return await weir.wiring.gateway.run(caller, CHAT, request, Inbound(headers), context)


@pytest.mark.parametrize(
    ("script", "stream"),
    [("hang=before", False), ("hang=before", True), ("hang=0", False)],
    ids=["plain before the head", "streamed before the head", "plain in the body"],
)
async def test_a_call_that_a_stopping_weir_gives_up_has_its_row(weir: RunningWeir, script: str, stream: bool) -> None:
    task = asyncio.create_task(run(weir, script, stream=stream))
    await weir.simulator.account.wait_for_arrivals(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    [call] = await weir.simulator.account.wait_for_endings(1)
    assert call.ending == "client_left"
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "client_left", 499)
    assert entry["input_tokens"] > 0


async def test_a_stream_that_is_closed_before_its_end_has_its_row(weir: RunningWeir) -> None:
    answer = await run(weir, "hang=3", stream=True)
    assert not isinstance(answer.body, bytes)
    await anext(answer.body)
    await answer.body.aclose()

    [call] = await weir.simulator.account.wait_for_endings(1)
    assert call.ending == "client_left"
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "client_left", 200)


async def test_an_attempt_cannot_end_twice(weir: RunningWeir) -> None:
    upstreams, settlement = weir.wiring.upstreams, weir.wiring.gateway._dispatcher._settlement
    attempt = Attempt(
        id=new_uuid7(0),
        context=CallContext(new_id("req"), 0.0, "POST", "/v1/chat/completions"),
        key_id="key_test",
        project_id="proj_default",
        user_id=None,
        operation=CHAT,
        request=CHAT.read(orjson.dumps(HELLO), {}),
        body=b"",
        target=upstreams.plan("gpt-4o-mini").targets[0],
        started_at=utc_now(),
    )
    settlement.estimate(attempt, "client_left", 0, 499)
    with pytest.raises(RuntimeError, match="ended twice"):
        settlement.release(attempt, 500)
    [entry] = await weir.entries()
    assert entry["ending"] == "estimated"
