"""Embeddings: what Weir reads of a request and of its answer."""

from typing import Any

import orjson
import pytest

from app.errors import InvalidRequest, InvalidType, MissingParameter
from app.gateway.operations.embeddings import Embeddings
from app.gateway.operations.operation import Answered, MeteredRequest, Whole
from app.prices.usage import Usage

EMBEDDINGS = Embeddings()
FRAME = 8


def read(**changes: Any) -> MeteredRequest:
    return EMBEDDINGS.read(orjson.dumps({"model": "m", "input": "a weir", **changes}), {})


def answered(answer: bytes) -> Answered | None:
    return EMBEDDINGS.answered(Whole(read(), answer, "application/json"))


@pytest.mark.parametrize(
    ("value", "inputs", "tokens_max", "estimated"),
    [
        ("a weir", 1, 6, 2),
        ("é☃", 1, 5, 2),
        (["one", "", "three"], 3, 8, 3),
        ([1, 22, 333], 1, 3, 3),
        ([[1, 2], [3]], 2, 3, 3),
        ([], 1, 0, 0),
    ],
)
def test_every_kind_of_input_is_bounded_and_estimated(value: Any, inputs: int, tokens_max: int, estimated: int) -> None:
    request = read(input=value)

    bound = request.bound
    assert (bound.input_tokens, bound.inputs, bound.output_tokens) == (tokens_max + FRAME * inputs, inputs, 0)
    assert not bound.fills_context
    assert EMBEDDINGS.estimated(request) == Usage(input_tokens=estimated)
    assert request.is_capped


@pytest.mark.parametrize("value", [[{"image": "x"}], [1, "a"], [True], [[1, "a"]], [None]])
def test_what_is_neither_text_nor_tokens_may_be_as_much_as_fits(value: Any) -> None:
    bound = read(input=value).bound

    assert (bound.fills_context, bound.sees, bound.hears, bound.inputs) == (True, True, True, len(value))


def test_counted_in_tokens_text_is_never_more_than_its_bytes() -> None:
    request = read(input=["a weir" * 20, "x"])

    assert EMBEDDINGS.counted_bound(request, lambda text: len(text) // 6).input_tokens == 20 + 4 + 1 + 2 * FRAME
    assert EMBEDDINGS.counted_bound(request, lambda text: 10 * len(text)) == request.bound


@pytest.mark.parametrize(
    ("changes", "error", "param"),
    [
        ({"input": None}, MissingParameter, "input"),
        ({"input": {"text": "x"}}, InvalidType, "input"),
        ({"input": 7}, InvalidType, "input"),
        ({"model": ""}, MissingParameter, "model"),
        ({"Input": "x"}, InvalidRequest, "Input"),
    ],
)
def test_a_malformed_request_is_told_what_and_where(
    changes: dict[str, Any], error: type[Exception], param: str
) -> None:
    with pytest.raises(error) as refused:
        read(**changes)
    assert getattr(refused.value, "param", None) == param


def test_an_input_that_is_there_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="more than once"):
        EMBEDDINGS.read(b'{"model":"m","input":"a","input":"b"}', {})


def test_usage_is_read_with_and_without_a_word_about_output() -> None:
    used = Answered(Usage(input_tokens=5), "m-2")

    assert answered(b'{"model":"m-2","data":[],"usage":{"prompt_tokens":5,"total_tokens":5}}') == used
    assert answered(b'{"model":"m-2","usage":{"prompt_tokens":5,"completion_tokens":0}}') == used


@pytest.mark.parametrize("usage", [b"null", b"5", b'{"prompt_tokens":-1}', b'{"prompt_tokens":"5"}'])
def test_a_usage_that_cannot_be_believed_is_none(usage: bytes) -> None:
    assert answered(b'{"data":[],"usage":%b}' % usage) == Answered(None, None)


def test_what_is_no_json_object_is_no_answer() -> None:
    assert answered(b"[]") is None
    assert answered(b"<html>") is None


def test_a_stream_of_another_server_is_metered_like_one_of_chat() -> None:
    stream = EMBEDDINGS.stream(read())
    data = b'data: {"usage":{"prompt_tokens":3,"completion_tokens":0}}\n\ndata: [DONE]\n\n'

    assert stream.feed(data) == data
    assert (stream.usage, stream.is_done) == (Usage(input_tokens=3), True)
