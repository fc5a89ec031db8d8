"""The endpoint before chat: the same answers, under the names that it had then."""

from typing import Any

import orjson
import pytest
from openai import AsyncOpenAI

from app.simulator.app import Simulator
from tests.simulator.wire import Wire

PATH = "/v1/completions"
ASK: dict[str, Any] = {"model": "sim-small", "prompt": "A weir is", "max_tokens": 5}


async def test_a_completion_has_its_keys_and_is_counted(client: AsyncOpenAI, simulator: Simulator) -> None:
    answer = await client.completions.create(**ASK)

    assert answer.object == "text_completion"
    assert [(choice.index, choice.finish_reason) for choice in answer.choices] == [(0, "length")]
    assert answer.usage
    [call] = simulator.account.calls
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 5)
    assert (call.prompt_tokens, call.completion_tokens, call.completion_tokens_sent) == (3, 5, 5)


async def test_a_maximum_that_is_not_named_is_16(client: AsyncOpenAI) -> None:
    answer = await client.completions.create(model="sim-small;output_tokens=40", prompt="x")
    assert answer.usage
    assert answer.usage.completion_tokens == 16
    short = await client.completions.create(model="sim-small;output_tokens=4", prompt="x")
    assert short.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("prompt", "tokens", "choices"),
    [("a b", 2, 1), (["a", "b c"], 3, 2), ([1, 2], 2, 1), ([[1], [2, 3]], 3, 2), (None, 0, 1)],
)
async def test_every_kind_of_prompt_is_counted(
    wire: Wire, simulator: Simulator, prompt: Any, tokens: int, choices: int
) -> None:
    received = await wire.ask({**ASK, "prompt": prompt, "suffix": " end"}, PATH)
    answer = orjson.loads(received.body)
    assert len(answer["choices"]) == choices
    assert answer["usage"]["prompt_tokens"] == simulator.account.calls[0].prompt_tokens == tokens + choices


async def test_candidates_that_nobody_sees_are_generated_all_the_same(
    client: AsyncOpenAI, simulator: Simulator
) -> None:
    answer = await client.completions.create(**ASK, n=2, best_of=5, echo=True)
    assert [choice.text.startswith("A weir is") for choice in answer.choices] == [True, True]
    [call] = simulator.account.calls
    assert (call.completion_tokens, call.completion_tokens_sent) == (25, 10)


async def test_a_completion_of_nothing_does_not_speak_of_its_tokens(wire: Wire) -> None:
    received = await wire.ask({**ASK, "max_tokens": 0, "echo": True}, PATH)
    answer = orjson.loads(received.body)
    assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert answer["choices"][0]["text"] == "A weir is"


async def test_a_stream_has_one_chunk_per_token_and_the_usage_for_who_asks(client: AsyncOpenAI) -> None:
    plain = await client.completions.create(**ASK, n=2, echo=True)
    stream = await client.completions.create(**ASK, n=2, echo=True, stream=True, stream_options={"include_usage": True})
    *chunks, last = [chunk async for chunk in stream]
    for index in (0, 1):
        texts = [choice.text for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert len(texts) == 6
        assert "".join(texts) == plain.choices[index].text
    assert last.usage == plain.usage
    assert not any(chunk.usage for chunk in [c async for c in await client.completions.create(**ASK, stream=True)])


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [{}]}, "prompt"),
        ({"prompt": 5.5}, "prompt"),
        ({"n": 3, "best_of": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"max_tokens": -1}, "max_tokens"),
    ],
)
async def test_a_bad_request_is_refused(wire: Wire, changes: dict[str, Any], param: str) -> None:
    received = await wire.ask({**ASK, **changes}, PATH)
    assert received.status == 400
    assert orjson.loads(received.body)["error"]["param"] == param


@pytest.mark.parametrize(
    ("script", "ending"), [("cut_after=2", "cut"), ("no_usage=1", "finished"), ("status=500", "refused")]
)
async def test_scripts_work_here_too(wire: Wire, simulator: Simulator, script: str, ending: str) -> None:
    await wire.ask({**ASK, "stream": True}, PATH, x_simulator=script)
    assert (await simulator.account.wait_for_endings(1))[0].ending == ending
    plain = await wire.ask(ASK, PATH, x_simulator="no_usage=1")
    assert b"usage" not in plain.body
