"""Completions before chat: what Weir reads of a request, of its answer and of its stream."""

from typing import Any

import orjson
import pytest

from app.errors import IntegerTooLarge, IntegerTooSmall, InvalidRequest, InvalidType, MissingParameter
from app.gateway.operations.completions import Completions
from app.gateway.operations.operation import Answered, MeteredRequest, Whole
from app.prices.usage import Usage

COMPLETIONS = Completions()
FRAME = 8


def read(**changes: Any) -> MeteredRequest:
    return COMPLETIONS.read(orjson.dumps({"model": "m", "prompt": "a weir is", **changes}), {})


def answered(document: Any) -> Answered | None:
    return COMPLETIONS.answered(Whole(read(), orjson.dumps(document), "application/json"))


def test_a_request_without_a_maximum_has_openais_and_is_sent_with_it_where_a_budget_demands_one() -> None:
    request = read()

    assert (request.bound.output_tokens, request.is_capped) == (16, False)
    assert COMPLETIONS.capped(request.body, 16) == b'{"max_tokens":16,"model":"m","prompt":"a weir is"}'
    assert COMPLETIONS.capped(b'{"max_tokens" : null }', 16) == b'{"max_tokens" : 16 }'


@pytest.mark.parametrize("maximum", [0, 1, 4_000])
def test_a_maximum_that_is_named_is_the_bound(maximum: int) -> None:
    request = read(max_tokens=maximum)

    assert (request.bound.output_tokens, request.is_capped) == (maximum, True)


@pytest.mark.parametrize(
    ("changes", "choices"),
    [({}, 1), ({"n": 3}, 3), ({"best_of": 5}, 5), ({"n": 3, "best_of": 5}, 5), ({"n": 2, "best_of": 0}, 2)],
)
@pytest.mark.parametrize(
    ("prompt", "prompts"), [("a", 1), (["a", "b"], 2), ([[1], [2], [3]], 3), ([1, 2], 1), (None, 1)]
)
def test_every_candidate_of_every_prompt_is_bounded(
    changes: dict[str, Any], choices: int, prompt: Any, prompts: int
) -> None:
    bound = read(prompt=prompt, **changes).bound

    assert (bound.choices, bound.inputs) == (choices * prompts, prompts)


def test_a_suffix_is_read_with_each_prompt() -> None:
    request = read(prompt=["ab", "cd"], suffix="four")

    assert request.bound.input_tokens == 2 * (2 + 4 + FRAME)
    assert COMPLETIONS.estimated(request) == Usage(input_tokens=4)
    counted = COMPLETIONS.counted_bound(request, lambda _: 0)
    assert counted == request.bound._replace(input_tokens=2 * (2 + 4 + FRAME))


def test_a_long_suffix_of_very_many_prompts_is_measured_once() -> None:
    request = read(prompt=["a"] * 200_000, suffix="\u00e4" * 2_000_000)  # for each prompt it takes hours

    assert request.bound.input_tokens == 200_000 * (1 + 4_000_000 + 8)
    assert request.input_tokens == 200_000 * (1 + 1_000_000)


@pytest.mark.parametrize(
    ("changes", "error", "param"),
    [
        ({"model": None}, InvalidType, "model"),
        ({"model": ""}, MissingParameter, "model"),
        ({"max_tokens": -1}, IntegerTooSmall, "max_tokens"),
        ({"max_tokens": "16"}, InvalidType, "max_tokens"),
        ({"n": 0}, IntegerTooSmall, "n"),
        ({"n": 129}, IntegerTooLarge, "n"),
        ({"best_of": 1.5}, InvalidType, "best_of"),
        ({"suffix": 5}, InvalidType, "suffix"),
        ({"stream": "yes"}, InvalidType, "stream"),
        ({"N": 5}, InvalidRequest, "N"),
    ],
)
def test_a_malformed_request_is_told_what_and_where(
    changes: dict[str, Any], error: type[Exception], param: str
) -> None:
    with pytest.raises(error) as refused:
        read(**changes)
    assert getattr(refused.value, "param", None) == param


def test_a_stream_is_asked_for_its_usage() -> None:
    request = read(stream=True)

    assert request.body.startswith(b'{"stream_options":{"include_usage":true},')
    assert (request.streamed, request.hides_usage) == (True, True)
    assert not read(stream=True, stream_options={"include_usage": True}).hides_usage


def test_an_answer_says_what_it_used_also_where_nothing_was_generated() -> None:
    usage = {"prompt_tokens": 4, "completion_tokens": 7, "total_tokens": 11}

    assert answered({"model": "m-1", "usage": usage}) == Answered(Usage(input_tokens=4, output_tokens=7), "m-1")
    assert answered({"usage": {"prompt_tokens": 4, "total_tokens": 4}}) == Answered(Usage(input_tokens=4))


def test_without_usage_its_text_is_counted() -> None:
    assert answered({"choices": [{"text": "a wall"}, {"text": 5}, {}]}) == Answered(None, output_tokens=2)
    assert answered([]) is None


def test_a_streams_text_is_counted_unless_its_usage_chunk_says_it_which_is_kept_from_who_did_not_ask() -> None:
    stream = COMPLETIONS.stream(read(stream=True))
    text = b'data: {"model":"m-1","choices":[{"index":0,"text":"a wall"}]}\n\n'
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2}}\n\n'
    end = b"data: [DONE]\n\n"

    assert stream.feed(text) == text
    assert (stream.relayed_tokens(), stream.answered_model, stream.is_done) == (2, "m-1", False)
    assert stream.feed(text + usage + end) == text + end
    assert (stream.relayed_tokens(), stream.usage, stream.is_done) == (0, Usage(input_tokens=4, output_tokens=2), True)
