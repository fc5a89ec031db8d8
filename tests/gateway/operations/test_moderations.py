"""Moderations: free, and so with little to read."""

from typing import Any

import orjson
import pytest

from app.errors import InvalidRequest, InvalidType
from app.gateway.operations.moderations import Moderations
from app.gateway.operations.operation import Answered, MeteredRequest, Whole
from app.prices.usage import Usage

MODERATIONS = Moderations()
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/weir.png"}}


def read(**document: Any) -> MeteredRequest:
    return MODERATIONS.read(orjson.dumps(document), {})


@pytest.mark.parametrize(
    ("value", "tokens"), [("I like weirs.", 4), (["one", "two"], 2), ([{"type": "text", "text": "a"}, IMAGE], 1004)]
)
def test_its_input_is_counted_by_weir_as_nobody_else_does(value: Any, tokens: int) -> None:
    request = read(model="omni-moderation-latest", input=value)
    counted = MODERATIONS.estimated(request).input_tokens

    assert tokens <= counted <= tokens + 5
    whole = Whole(request, b'{"model":"omni-moderation-2024-09-26","results":[]}', "application/json")
    assert MODERATIONS.answered(whole) == Answered(Usage(input_tokens=counted), "omni-moderation-2024-09-26")


def test_a_request_without_a_model_is_for_the_one_that_openai_documents() -> None:
    assert read(input="x").model == read(input="x", model=None).model == "omni-moderation-latest"
    assert MODERATIONS.renamed(read(input="x"), "m") == b'{"model":"m","input":"x"}'


def test_what_is_wrong_with_a_model_is_told() -> None:
    with pytest.raises(InvalidType, match="model"):
        read(input="x", model=5)
    with pytest.raises(InvalidRequest, match="Model"):
        read(input="x", Model="m")


def test_a_request_is_free_and_has_no_bound_to_keep() -> None:
    request = read(input="x" * 100_000)

    assert MODERATIONS.is_free
    assert (request.bound.input_tokens, request.bound.output_tokens, request.is_capped) == (0, 0, True)


def test_what_is_no_json_object_is_no_answer() -> None:
    assert MODERATIONS.answered(Whole(read(input="x"), b"<html>", "text/html")) is None


def test_a_stream_of_another_server_is_metered_like_one_of_chat() -> None:
    stream = MODERATIONS.stream(read(input="x"))

    assert stream.feed(b"data: [DONE]\n\n") == b"data: [DONE]\n\n"
    assert stream.is_done
