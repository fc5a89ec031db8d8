"""What an upstream says it used, and our own count where it says nothing that can be true."""

from typing import Any

import orjson
import pytest

from app.gateway.operations.chat import ChatCompletions
from app.gateway.operations.operation import MeteredRequest, Whole
from app.gateway.usage import chat_usage, generated_tokens, input_tokens
from app.prices.service import Bound
from app.prices.usage import Usage

CHAT = ChatCompletions()


def estimated(body: bytes) -> int:
    return CHAT.estimated(CHAT.read(body, {})).input_tokens


def generated(document: dict[str, Any]) -> int:
    request = MeteredRequest("m", Bound(input_tokens=0, output_tokens=None), b"{}")
    answered = CHAT.answered(Whole(request, orjson.dumps(document), "application/json"))
    assert answered is not None
    return answered.output_tokens


def test_every_detail_that_has_a_price_is_read() -> None:
    reported = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {
            "cached_tokens": 10,
            "cache_write_tokens": 20,
            "audio_tokens": 30,
            "image_tokens": 5,
            "text_tokens": 65,
        },
        "completion_tokens_details": {"reasoning_tokens": 40, "audio_tokens": 6, "accepted_prediction_tokens": 1},
        "cost": "a field that nobody knows",
    }
    assert chat_usage(reported) == Usage(
        input_tokens=100,
        cached_input_tokens=10,
        cache_write_tokens=20,
        input_audio_tokens=30,
        input_image_tokens=5,
        output_tokens=50,
        reasoning_tokens=40,
        output_audio_tokens=6,
    )


@pytest.mark.parametrize("details", [None, {}, [], "none", {"cached_tokens": None}])
def test_details_that_are_not_there_are_nothing(details: object) -> None:
    reported = {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": details}
    assert chat_usage(reported) == Usage(input_tokens=1, output_tokens=2)


@pytest.mark.parametrize("count", [-1, 10**30, 1.5, 3.0, "7", True, [], {}])
def test_usage_that_cannot_be_true_is_no_usage(count: object) -> None:
    reported: dict[str, Any] = {"prompt_tokens": 1, "completion_tokens": 2}
    assert chat_usage({**reported, "prompt_tokens": count}) is None
    assert chat_usage({**reported, "completion_tokens": count}) is None
    assert chat_usage({**reported, "prompt_tokens_details": {"cached_tokens": count}}) is None


@pytest.mark.parametrize("reported", [None, "usage", 5, [], {}, {"prompt_tokens": 5, "completion_tokens": None}])
def test_what_is_no_usage_object_is_no_usage(reported: object) -> None:
    assert chat_usage(reported) is None


def test_input_is_counted_by_its_text_and_media_by_the_piece() -> None:
    assert input_tokens([{"role": "user", "content": "12345678"}]) == 1 + 1 + 2 + 2
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 100_000}}
    assert input_tokens([image, sound]) == 2_000
    assert input_tokens([None, 5, True, 1.5]) == 0


def test_input_nested_as_deep_as_json_may_be_is_counted() -> None:
    body = b'{"model":"m","messages":[' + b'{"a":[' * 500 + b'"word"' + b"]}" * 500 + b"]}"
    assert estimated(body) == 500 + 1


def test_tools_and_answer_formats_are_input_too() -> None:
    request = {"model": "m", "messages": ["word"], "tools": None, "unknown": "text that is no input"}
    tools = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
    assert estimated(orjson.dumps(request)) == 1
    assert estimated(orjson.dumps({**request, "tools": tools})) == 1 + 1 + 2 + 2 + 1 + 1 + 3 + 1 + 2
    assert estimated(orjson.dumps({**request, "response_format": {"type": "text"}})) == 1 + 1 + 1


def test_every_character_is_counted_by_its_bytes() -> None:
    assert input_tokens(["é" * 4, "日本", "😀", ""]) == 2 + 2 + 1 + 0


def test_what_a_model_wrote_is_counted_in_every_choice() -> None:
    document = {
        "choices": [
            {"message": {"role": "assistant", "content": "12345678", "refusal": None}},
            {"message": {"content": None, "tool_calls": [{"custom": {"name": "1234", "input": "12345"}}]}},
            {"message": None},
            "nonsense",
        ]
    }
    assert generated(document) == 2 + 1 + 2


@pytest.mark.parametrize("choices", [None, 5, "text", {}])
def test_an_answer_without_choices_has_generated_nothing(choices: object) -> None:
    assert generated({"choices": choices}) == 0
    assert generated_tokens(choices) == 0
