"""Images: what Weir reads of requests as JSON and as forms, of answers with and without usage, and of streams."""

from typing import Any

import httpx2
import orjson
import pytest

from app.errors import InvalidRequest, InvalidType, MissingParameter, Refusal, UnsupportedMediaType
from app.gateway.operations.images import ImageEdits, ImageGenerations, ImageVariations
from app.gateway.operations.operation import Answered, MeteredRequest, Operation, Whole
from app.prices.usage import Usage

GENERATIONS, EDITS, VARIATIONS = ImageGenerations(), ImageEdits(), ImageVariations()
USAGE = {
    "input_tokens": 50,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    "output_tokens": 300,
    "output_tokens_details": {"image_tokens": 272, "text_tokens": 28},
    "total_tokens": 350,
}
USED = Usage(images=1, input_tokens=50, input_image_tokens=40, output_tokens=300, output_image_tokens=272)
FILE = ("heron.png", b"\x89PNG", "image/png")
JSON = "application/json"


def read(**changes: Any) -> MeteredRequest:
    return GENERATIONS.read(orjson.dumps({"model": "gpt-image-1", "prompt": "A heron.", **changes}), {})


def edit(**document: Any) -> MeteredRequest:
    return EDITS.read(orjson.dumps({"model": "gpt-image-1", "prompt": "At dusk.", **document}), {"content-type": JSON})


def send(operation: Operation, fields: dict[str, Any], files: list[tuple[str, Any]]) -> MeteredRequest:
    """Read what the SDK's HTTP client makes of a form."""
    request = httpx2.Request("POST", "http://weir.test", data=fields, files=files or {"x": ("x", b"")})
    return operation.read(request.read(), request.headers)


def answered(document: Any, request: MeteredRequest | None = None) -> Answered | None:
    return GENERATIONS.answered(Whole(request or read(), orjson.dumps(document), JSON))


def test_a_request_in_json_is_read() -> None:
    request = read(n=2, size="1024x1536", quality="high", partial_images=1)

    assert (request.model, request.bound.units.images, request.streamed, request.form) == (
        "gpt-image-1",
        2,
        False,
        None,
    )
    assert read(stream=True).streamed
    assert request.output_tokens_expected
    assert request.output_tokens_expected < (request.bound.output_tokens or 0)


def test_a_request_without_a_model_is_for_the_one_that_openai_documents() -> None:
    for fields in ({}, {"model": None}):
        request = GENERATIONS.read(orjson.dumps({"prompt": "A heron.", **fields}), {})
        assert request.model == "gpt-image-1.5"
        assert orjson.loads(GENERATIONS.renamed(request, "other"))["model"] == "other"
    assert send(EDITS, {"prompt": "x"}, [("image", FILE)]).model == "gpt-image-1.5"
    assert send(VARIATIONS, {}, [("image", FILE)]).model == "dall-e-2"


def test_the_images_of_a_form_are_counted_and_its_model_is_replaced_in_its_bytes() -> None:
    fields = {"model": "gpt-image-1", "prompt": "At dusk.", "n": "2", "stream": "true"}
    request = send(EDITS, fields, [("image[]", FILE), ("image[]", FILE), ("mask", FILE)])

    assert (request.model, request.streamed, request.bound.units.images) == ("gpt-image-1", True, 2)
    assert request.bound.input_tokens > 2 * 3 * 7_337
    assert EDITS.estimated(request) == Usage(input_tokens=3_002, input_image_tokens=3_000, images=2)
    assert EDITS.renamed(request, "other") == request.body.replace(b"gpt-image-1", b"other")


def test_edits_in_json_name_their_images_and_the_files_among_them() -> None:
    images = [{"file_id": "file-a"}, {"image_url": "https://example.org/weir.png"}, "nonsense"]

    request = edit(images=images, mask={"file_id": "file-b"})

    assert request.references == ("file-a", "file-b")
    assert request.bound.input_tokens > 4 * 7_337
    assert EDITS.estimated(request).input_image_tokens == 4_000
    assert edit(images=[]).references == ()


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"n": 0}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"size": 1024}, "size"),
        ({"N": 10}, "N"),
    ],
)
def test_a_malformed_request_in_json_is_told_what_and_where(document: dict[str, Any], param: str) -> None:
    for ask in (read, lambda **changes: edit(images=[], **changes)):
        with pytest.raises(Refusal) as refused:
            ask(**document)
        assert refused.value.param == param


def test_a_form_needs_an_image_and_edits_a_prompt() -> None:
    for operation in (EDITS, VARIATIONS):
        with pytest.raises(MissingParameter, match="image"):
            send(operation, {"prompt": "x", "image": "no file"}, [])
    with pytest.raises(MissingParameter, match="prompt"):
        send(EDITS, {}, [("image", FILE)])
    with pytest.raises(MissingParameter, match="images"):
        edit()
    with pytest.raises(InvalidType, match="images"):
        edit(images="x")
    with pytest.raises(InvalidRequest, match="more than once"):
        EDITS.read(b'{"images":[],"images":[{},{}],"prompt":"x"}', {})


@pytest.mark.parametrize(
    ("operation", "content_type"), [(EDITS, "text/plain"), (VARIATIONS, JSON), (GENERATIONS, "text/plain")]
)
def test_another_content_type_is_refused(operation: Operation, content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        operation.read(b"{}", {"content-type": content_type})


def test_an_answer_with_usage_is_what_it_says() -> None:
    assert answered({"data": [{"b64_json": "x"}], "usage": USAGE}) == Answered(USED)


def test_without_details_all_of_the_output_is_image_and_none_of_the_input() -> None:
    usage = {"input_tokens": 5, "output_tokens": 9, "input_tokens_details": {"cached_tokens": 2}}

    found = answered({"data": [{}, {}], "usage": usage})

    assert found == Answered(
        Usage(images=2, input_tokens=5, cached_input_tokens=2, output_tokens=9, output_image_tokens=9)
    )


@pytest.mark.parametrize("usage", [None, 5, {}, {**USAGE, "output_tokens": -1}, {**USAGE, "input_tokens": True}])
def test_without_a_usage_to_believe_the_images_are_known_and_their_tokens_likely(usage: Any) -> None:
    request = read(n=3, size="1024x1024", quality="low")

    found = answered({"data": [{"url": "x"}, {"url": "y"}], "usage": usage}, request)

    assert found is not None
    assert found.usage == Usage(images=2)
    assert found.output_tokens == 2 * (request.output_tokens_expected or 0) > 2 * 272


@pytest.mark.parametrize("document", [[], {}, {"data": None}, {"error": {"message": "no"}}])
def test_what_has_no_images_is_no_answer(document: Any) -> None:
    assert answered(document) is None


def event(**document: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (document["type"].encode(), orjson.dumps(document))


PARTIAL = event(type="image_generation.partial_image", b64_json="AAAA", partial_image_index=0)
COMPLETED = event(type="image_generation.completed", b64_json="AAAA", usage=USAGE)


def test_a_stream_is_done_when_an_image_is_and_adds_up_what_each_of_them_used() -> None:
    stream = GENERATIONS.stream(read(stream=True))

    assert stream.feed(PARTIAL) == PARTIAL
    assert (stream.is_done, stream.usage) == (False, None)
    assert stream.feed(COMPLETED) == COMPLETED
    assert (stream.is_done, stream.usage) == (True, USED)
    stream.feed(event(type="image_edit.completed", b64_json="AAAA", usage=USAGE))
    assert stream.usage == Usage._make(2 * count for count in USED)
    assert not stream.has_error


def test_the_first_picture_of_an_image_counts_as_all_of_it() -> None:
    request = read(stream=True)
    tokens = request.output_tokens_expected
    assert tokens
    no_usage = event(type="image_generation.completed", b64_json="AAAA")
    for events, expected in (
        (b": ping\n\n", 0),
        (PARTIAL, tokens),
        (PARTIAL + PARTIAL, tokens + 100),
        (PARTIAL + no_usage, tokens + 100),
        (no_usage + no_usage, 2 * tokens),
    ):
        stream = GENERATIONS.stream(request)
        stream.feed(events)
        assert stream.relayed_tokens() == expected
        assert stream.usage is None


@pytest.mark.parametrize("document", [{"type": "error", "message": "no"}, {"type": "x", "error": {"message": "no"}}])
def test_an_error_in_a_stream_is_seen(document: dict[str, Any]) -> None:
    stream = GENERATIONS.stream(read(stream=True))
    stream.feed(event(**document))

    assert (stream.has_error, stream.is_done, stream.relayed_tokens()) == (True, False, 0)


def test_a_picture_may_be_larger_than_any_other_event() -> None:
    stream = GENERATIONS.stream(read(stream=True))
    large = event(type="image_generation.completed", b64_json="A" * 20_000_000, usage=USAGE)

    relayed = b"".join(stream.feed(large[start : start + 65_536]) for start in range(0, len(large), 65_536))

    assert relayed == large
    assert stream.is_done


def test_an_answer_may_leave_its_images_out_but_must_be_one() -> None:
    unknown = answered({"created": 1})
    assert unknown is not None
    assert unknown.usage is None
    assert unknown.output_tokens > 0
    assert answered({"created": 1, "usage": USAGE}) == Answered(USED)
    assert answered({}) is None
    assert answered({"error": {"message": "No."}}) is None
