"""The simulator's Responses API: what it refuses, what it keeps, and what a script makes of it."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from app.simulator.app import Simulator

ASK: Any = {"model": "sim-small", "input": "What is a weir?"}


async def test_the_account_counts_what_the_usage_says(client: AsyncOpenAI, simulator: Simulator) -> None:
    tools: Any = [{"type": "web_search"}, {"type": "mcp", "server_label": "s"}, {"type": "image_generation"}]
    script = {"x-simulator": "reasoning_tokens=5;cached_tokens=2"}
    response = await client.responses.create(**ASK, tools=tools, max_tool_calls=2, extra_headers=script)
    [call] = simulator.account.calls

    assert response.usage
    assert (call.prompt_tokens, call.completion_tokens) == (response.usage.input_tokens, response.usage.output_tokens)
    assert response.usage.output_tokens_details.reasoning_tokens == 5
    kinds = [item.type for item in response.output]
    assert kinds == ["reasoning", "web_search_call", "mcp_call", "message"]


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"previous_response_id": "resp_nobody"}, "previous_response_id"),
    ],
    ids=str,
)
async def test_what_openai_refuses_is_refused(client: AsyncOpenAI, members: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.post("/responses", body={**ASK, **members}, cast_to=object)
    assert refused.value.param == param


async def test_what_is_not_there_is_not_found(client: AsyncOpenAI) -> None:
    reference: Any = [{"type": "item_reference", "id": "msg_nobody"}]
    made = await client.responses.create(**ASK)
    for attempt in (
        client.responses.create(model="sim-small", input=reference),
        client.responses.retrieve("resp_nobody"),
        client.post(f"/responses/{made.id}/nothing", body={}, cast_to=object),
    ):
        with pytest.raises(openai.NotFoundError):
            await attempt
    with pytest.raises(openai.BadRequestError):
        await client.responses.cancel(made.id)


async def test_a_maximum_cuts_the_answer(client: AsyncOpenAI) -> None:
    response = await client.responses.create(**ASK, max_output_tokens=2, conversation="conv_1")

    assert (response.status, response.usage and response.usage.output_tokens) == ("incomplete", 2)
    assert response.conversation
    assert response.conversation.id == "conv_1"


async def test_a_script_can_break_a_stream_before_its_first_piece(client: AsyncOpenAI) -> None:
    for script in ("error_after=0", "eof_after=0"):
        stream = await client.responses.create(**ASK, stream=True, extra_headers={"x-simulator": script})
        kinds = [event.type async for event in stream]
        assert "response.output_text.delta" not in kinds
        assert ("error" in kinds) == (script == "error_after=0")


async def test_the_oldest_of_too_many_are_forgotten(client: AsyncOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.simulator.responses._KEPT_MAX", 1)
    monkeypatch.setattr("app.simulator.stored_chats._KEPT_MAX", 1)
    first, _ = [await client.responses.create(**ASK) for _ in range(2)]
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(first.id)
    messages: Any = [{"role": "user", "content": "Hello."}]
    for _ in range(3):
        newest = await client.chat.completions.create(model="sim-small", messages=messages, store=True)
    assert newest.id in [each.id async for each in client.chat.completions.list(model="sim-small")]
    with pytest.raises(openai.NotFoundError):
        await client.get(f"/chat/completions/{newest.id}/nothing", cast_to=object)
