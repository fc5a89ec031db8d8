from typing import Any, Literal

import orjson
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from app.simulator.app import Simulator
from app.simulator.text import count_tokens
from tests.simulator.wire import ASK, Wire

USER: Any = [{"role": "user", "content": "What is a weir?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["c", "f"]}},
            "required": ["city"],
        },
    },
}


async def test_a_plain_answer_repeats_the_question_and_counts_its_tokens(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="gpt-4o", messages=USER)
    content = answer.choices[0].message.content
    assert content is not None
    assert "What is a weir?" in content
    assert answer.model == "gpt-4o"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == count_tokens(content)
    assert answer.usage.prompt_tokens == 3 + 3 + count_tokens("What is a weir?")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_the_same_question_gets_the_same_answer(client: AsyncOpenAI) -> None:
    first, second = [await client.chat.completions.create(model="sim-small", messages=USER) for _ in range(2)]
    assert first.choices == second.choices
    assert first.id != second.id


async def test_a_plain_answer_has_every_key_that_strict_clients_need(wire: Wire) -> None:
    received = await wire.ask(ASK)
    answer = orjson.loads(received.body)
    assert set(answer) == {
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "service_tier",
        "system_fingerprint",
    }
    assert answer["object"] == "chat.completion"
    assert answer["service_tier"] == "default"
    (choice,) = answer["choices"]
    assert choice["logprobs"] is None
    assert choice["message"]["refusal"] is None
    assert choice["message"]["annotations"] == []
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 0, "audio_tokens": 0}
    assert answer["usage"]["completion_tokens_details"] == {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    }


async def test_an_answer_has_the_headers_that_openai_sends(client: AsyncOpenAI, simulator: Simulator) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="sim-small", messages=USER)
    assert raw.headers["x-request-id"] == simulator.account.calls[0].id
    assert raw.headers["openai-version"] == "2020-10-01"
    assert int(raw.headers["openai-processing-ms"]) >= 0
    for kind in ("requests", "tokens"):
        assert int(raw.headers[f"x-ratelimit-limit-{kind}"]) > int(raw.headers[f"x-ratelimit-remaining-{kind}"])
        assert raw.headers[f"x-ratelimit-reset-{kind}"].endswith("ms")


async def _stream(client: AsyncOpenAI, **options: Any) -> list[ChatCompletionChunk]:
    stream = await client.chat.completions.create(**{"model": "sim-small", "messages": USER, "stream": True} | options)
    return [chunk async for chunk in stream]


async def test_a_stream_says_what_the_plain_answer_says_one_token_per_chunk(client: AsyncOpenAI) -> None:
    plain = await client.chat.completions.create(model="sim-small", messages=USER)
    role, *contents, finish = await _stream(client)
    assert role.choices[0].delta.role == "assistant"
    assert finish.choices[0].finish_reason == "stop"
    texts = [chunk.choices[0].delta.content or "" for chunk in contents]
    assert "".join(texts) == plain.choices[0].message.content
    assert plain.usage is not None
    assert len(texts) == plain.usage.completion_tokens
    assert len({chunk.id for chunk in contents}) == 1


async def test_a_stream_reports_usage_only_when_asked(wire: Wire) -> None:
    unasked = (await wire.ask({**ASK, "stream": True})).events()
    assert unasked[-1] == "[DONE]"
    assert all("usage" not in orjson.loads(event) for event in unasked[:-1])
    asked = (await wire.ask({**ASK, "stream": True, "stream_options": {"include_usage": True}})).events()
    *chunks, last = [orjson.loads(event) for event in asked[:-1]]
    assert all(chunk["usage"] is None and chunk["choices"] for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == len(chunks) - 2


async def test_each_choice_has_its_chunks_and_its_tokens(client: AsyncOpenAI) -> None:
    options = {"n": 3, "stream_options": {"include_usage": True}, "max_tokens": 5}
    *chunks, usage = await _stream(client, **options)
    plain = await client.chat.completions.create(model="sim-small", messages=USER, n=3, max_tokens=5)
    for index in range(3):
        own = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == index]
        assert "".join(choice.delta.content or "" for choice in own) == plain.choices[index].message.content
        assert own[-1].finish_reason == plain.choices[index].finish_reason == "length"
    assert usage.usage == plain.usage
    assert plain.usage is not None
    assert plain.usage.completion_tokens == 15


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_a_maximum_ends_the_answer(client: AsyncOpenAI, name: str) -> None:
    options: Any = {name: 3}
    answer = await client.chat.completions.create(model="sim-small", messages=USER, **options)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3 == count_tokens(answer.choices[0].message.content or "")


async def test_a_maximum_that_is_just_enough_is_no_cut(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="sim-small;output_tokens=7", messages=USER, max_tokens=7)
    assert answer.choices[0].finish_reason == "stop"


async def test_reasoning_is_counted_and_cut_first(client: AsyncOpenAI) -> None:
    model = "sim-small;reasoning_tokens=100;output_tokens=10"
    full = await client.chat.completions.create(model=model, messages=USER)
    cut = await client.chat.completions.create(model=model, messages=USER, max_completion_tokens=40)
    assert full.usage is not None
    assert full.usage.completion_tokens == 110
    assert cut.usage is not None
    assert cut.usage.completion_tokens_details is not None
    assert cut.usage.completion_tokens == cut.usage.completion_tokens_details.reasoning_tokens == 40
    assert cut.choices[0].message.content == ""
    assert cut.choices[0].finish_reason == "length"


async def test_the_script_decides_what_usage_says(client: AsyncOpenAI) -> None:
    model = "sim-small;prompt_tokens=1000;cached_tokens=900;output_tokens=500"
    answer = await client.chat.completions.create(model=model, messages=USER)
    assert answer.model == "sim-small"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 1000
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 900
    assert answer.usage.completion_tokens == 500 == count_tokens(answer.choices[0].message.content or "")


async def test_a_tool_is_called_with_arguments_that_its_schema_allows(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="sim-small", messages=USER, tools=[WEATHER])
    message = answer.choices[0].message
    assert message.content is None
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert orjson.loads(call.function.arguments) == {"city": "…", "days": 1, "unit": "c"}
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 1 + count_tokens(call.function.arguments)


async def test_a_streamed_tool_call_is_the_plain_one_in_pieces(client: AsyncOpenAI) -> None:
    plain = await client.chat.completions.create(model="sim-small", messages=USER, tools=[WEATHER])
    async with client.chat.completions.stream(
        model="sim-small", messages=USER, tools=[WEATHER], stream_options={"include_usage": True}
    ) as stream:
        streamed = await stream.get_final_completion()
    assert streamed.usage == plain.usage
    assert streamed.choices[0].finish_reason == "tool_calls"
    assert streamed.choices[0].message.tool_calls is not None
    assert plain.choices[0].message.tool_calls is not None
    one, other = plain.choices[0].message.tool_calls[0], streamed.choices[0].message.tool_calls[0]
    assert one.type == other.type == "function"
    assert one.function.arguments == other.function.arguments
    chunks = await _stream(client, tools=[WEATHER])
    calls = [chunk.choices[0].delta.tool_calls[0] for chunk in chunks if chunk.choices[0].delta.tool_calls]
    assert [call.id is not None for call in calls] == [True] + [False] * (len(calls) - 1)
    assert len(calls) > 5


@pytest.mark.parametrize("choice", ["none", "after_a_tool"])
async def test_text_is_answered_when_no_tool_may_or_need_be_called(client: AsyncOpenAI, choice: str) -> None:
    tool_call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    after: Any = [
        *USER,
        {"role": "assistant", "content": None, "tool_calls": [tool_call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    answer = await client.chat.completions.create(
        model="sim-small",
        messages=USER if choice == "none" else after,
        tools=[WEATHER],
        tool_choice="none" if choice == "none" else "auto",
    )
    assert answer.choices[0].message.tool_calls is None
    assert "What is a weir?" in (answer.choices[0].message.content or "")


async def test_the_tool_that_was_chosen_is_called(client: AsyncOpenAI) -> None:
    other: Any = {"type": "function", "function": {"name": "other"}}
    answer = await client.chat.completions.create(
        model="sim-small",
        messages=USER,
        tools=[WEATHER, other],
        tool_choice={"type": "function", "function": {"name": "other"}},
    )
    assert answer.choices[0].message.tool_calls is not None
    call = answer.choices[0].message.tool_calls[0]
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("other", "{}")


class Step(BaseModel):
    title: str
    minutes: int
    tags: list[str]
    kind: Literal["cook", "wait"]
    note: str | None
    then: "Step | None"


class Recipe(BaseModel):
    name: str
    steps: list[Step]


async def test_structured_outputs_parse(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.parse(model="sim-small", messages=USER, response_format=Recipe)
    recipe = answer.choices[0].message.parsed
    assert recipe is not None
    assert recipe.steps[0].kind == "cook"


async def test_json_mode_answers_an_object(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="sim-small", messages=USER, response_format={"type": "json_object"}
    )
    assert isinstance(orjson.loads(answer.choices[0].message.content or ""), dict)


async def test_the_text_parts_of_the_last_user_message_are_the_question(client: AsyncOpenAI) -> None:
    messages: Any = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "second"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "third"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ],
        },
    ]
    answer = await client.chat.completions.create(model="sim-small", messages=messages)
    assert '"third"' in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3 + 3 * 3 + 3 + 85


async def test_headers_are_echoed_without_the_key(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="sim-small;echo_headers=1", messages=USER, extra_headers={"x-mine": "1"}
    )
    headers = orjson.loads(answer.choices[0].message.content or "")
    assert headers["x-mine"] == "1"
    assert headers["authorization"].startswith("Bearer sha256:")
    assert "sk-test" not in str(headers)
