"""What a chat completion can use at most, read from requests as people send them and as nobody should."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import IntegerTooLarge, IntegerTooSmall, InvalidRequest, InvalidType
from app.gateway.operations.chat import ChatCompletions
from app.gateway.operations.operation import MeteredRequest
from app.prices.service import Bound

CHAT = ChatCompletions()
IMAGE = 50_000
FRAME = 64
TEXT = {"type": "text", "text": "What is this?"}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
PAPER = {"type": "file", "file": {"file_id": "file-1"}}


def read(body: bytes) -> MeteredRequest:
    return CHAT.read(body, {})


def body_of(*content: Any, **members: Any) -> bytes:
    messages = [{"role": "user", "content": list(content) if content else "Hello."}]
    return orjson.dumps({"model": "m", "messages": messages, **members})


def bound_of(*content: Any, **members: Any) -> Bound:
    return read(body_of(*content, **members)).bound


def test_text_is_at_most_a_token_for_each_byte_of_the_request() -> None:
    body = '{"model":"m","messages":[{"role":"user","content":"café"}]}'.encode()

    assert read(body).bound == Bound(len(body) + FRAME, None)


def test_a_part_of_text_is_text() -> None:
    body = body_of(TEXT, {"type": "refusal", "refusal": "No."}, {**TEXT, "cache_control": {"type": "ephemeral"}})

    assert read(body).bound == Bound(len(body) + FRAME, None)


@pytest.mark.parametrize("text", ['an "image_url": here', '{"file":{}}', '\\u0061 "input_audio"', '"content"'])
def test_what_a_text_talks_about_is_still_text(text: str) -> None:
    body = body_of({"type": "text", "text": text})

    assert read(body).bound == Bound(len(body) + FRAME, None)


def test_parameters_of_a_tool_are_no_media_whatever_they_are_called() -> None:
    properties = {name: {"type": "string"} for name in ("file", "image_url", "audio", "content", "n", "messages")}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": properties}}}
    body = body_of(tools=[tool])

    assert read(body).bound == Bound(len(body) + FRAME + 256, None)
    assert bound_of(functions=[]).input_tokens == len(body_of(functions=[])) + FRAME + 256


def test_an_image_is_a_flat_number_of_tokens_whether_it_is_named_or_inlined() -> None:
    inlined = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 2_000_000, "detail": "low"}}
    named = body_of(TEXT, PICTURE, PICTURE)

    assert read(named).bound == Bound(len(named) + FRAME + 2 * IMAGE, None, sees=True)
    assert IMAGE < bound_of(TEXT, inlined).input_tokens < IMAGE + 1_000
    bare = {"type": "image_url", "image_url": "data:," + "A" * 9_000}
    assert bound_of(bare).input_tokens < IMAGE + 1_000
    assert bound_of({"type": "image_url", "image_url": None}).input_tokens > IMAGE


def test_audio_is_at_most_its_bytes() -> None:
    body = body_of(TEXT, SOUND)

    assert read(body).bound == Bound(len(body) + FRAME, None, hears=True)


@pytest.mark.parametrize("part", [PAPER, {"type": "video_url", "video_url": {}}, {**TEXT, "image_url": {}}])
def test_what_is_only_named_or_unknown_may_fill_the_context(part: dict[str, Any]) -> None:
    bound = bound_of(TEXT, part)

    assert bound.fills_context
    assert bound.sees


def test_content_that_is_one_part_instead_of_a_list_is_looked_at_too() -> None:
    messages = [{"role": "user", "content": PAPER}, "no object", {"role": "user"}]
    assert read(orjson.dumps({"model": "m", "messages": messages})).bound.fills_context


def test_an_earlier_spoken_answer_is_of_unknown_length() -> None:
    messages = [{"role": "assistant", "content": None, "audio": {"id": "audio_1"}}]
    bound = read(orjson.dumps({"model": "m", "messages": messages})).bound

    assert bound.fills_context
    assert bound.hears


def test_an_answer_sent_back_with_all_its_nulls_is_text() -> None:
    messages = [{"role": "assistant", "content": "Hi.", "audio": None, "refusal": None, "function_call": None}]
    body = orjson.dumps({"model": "m", "messages": messages, "audio": None, "modalities": None, "prediction": None})

    assert read(body).bound == Bound(len(body) + FRAME, None)


@pytest.mark.parametrize(
    ("members", "speaks"),
    [
        ({"modalities": ["text", "audio"]}, True),
        ({"audio": {"voice": "alloy", "format": "wav"}}, True),
        ({"modalities": ["text"]}, False),
        ({"modalities": "text"}, False),
    ],
)
def test_an_answer_is_spoken_when_that_is_asked_for(members: dict[str, Any], speaks: bool) -> None:
    assert bound_of(**members).speaks is speaks


@pytest.mark.parametrize(
    "members",
    [
        {"web_search_options": {}},
        {"model": "gpt-4o-search-preview"},
        {"tools": [{"type": "function"}, {"type": "web_search"}]},
    ],
    ids=str,
)
def test_a_search_costs_a_fee_for_each_choice_and_may_bring_in_any_amount_of_text(members: dict[str, Any]) -> None:
    bound = bound_of(**members, n=2)

    assert bound.units.web_searches == 2
    assert bound.fills_context


def test_tools_that_the_caller_runs_search_nothing() -> None:
    assert bound_of(tools=[{"type": "function"}, {"type": "custom"}]).units.web_searches == 0


@pytest.mark.parametrize("kind", [[], {}, 1, None], ids=str)
def test_a_tool_whose_type_is_no_text_may_be_any(kind: Any) -> None:
    assert bound_of(tools=[{"type": kind}]).units.web_searches == 1


@pytest.mark.parametrize(
    ("prediction", "tokens"),
    [
        ({"type": "content", "content": "café"}, 5),
        ({"type": "content", "content": [{"type": "text", "text": "x"}]}, None),
        ("x", None),
    ],
)
def test_a_predicted_output_may_be_billed_as_output_when_it_is_wrong(prediction: Any, tokens: int | None) -> None:
    body = body_of(prediction=prediction)

    assert read(body).bound.predicted_tokens == (len(body) if tokens is None else tokens)


@pytest.mark.parametrize(("ttl", "keeps"), [("12h", True), ("30m", False), (None, False), (5, True)])
def test_a_cache_entry_that_is_to_be_kept_longer_than_usual_is_seen(ttl: Any, keeps: bool) -> None:
    assert bound_of(prompt_cache_options={"ttl": ttl}).keeps_cache is keeps
    assert not bound_of(prompt_cache_options="12h").keeps_cache


@pytest.mark.parametrize(
    ("members", "output_tokens", "is_capped"),
    [
        ({}, None, False),
        ({"max_tokens": None, "max_completion_tokens": None, "n": None}, None, False),
        ({"max_tokens": 7}, 7, True),
        ({"max_tokens": 0, "max_completion_tokens": 0}, None, False),
        ({"max_completion_tokens": 8}, 8, True),
        ({"max_tokens": 9, "max_completion_tokens": 8}, 9, True),
    ],
)
def test_the_maximum_is_the_larger_one_that_is_named(
    members: dict[str, Any], output_tokens: int | None, is_capped: bool
) -> None:
    request = read(body_of(**members))

    assert request.bound.output_tokens == output_tokens
    assert request.bound.choices == 1
    assert request.is_capped is is_capped


def test_as_many_choices_are_bounded_as_are_asked_for() -> None:
    assert bound_of(n=128).choices == 128


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n"])
@pytest.mark.parametrize("value", ["5", 5.0, 1e30, True, [5], {}, 2**70], ids=str)
def test_a_number_of_tokens_or_choices_that_is_no_integer_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidType) as caught:
        read(body_of().replace(b'"model"', b'"%b":%b,"model"' % (name.encode(), _json(value)), 1))

    assert caught.value.param == name


def _json(value: Any) -> bytes:
    return str(value).encode() if type(value) is int else orjson.dumps(value)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n"])
def test_a_number_out_of_range_is_refused_as_openai_does(name: str) -> None:
    with pytest.raises(IntegerTooSmall, match=f"Invalid '{name}': integer below minimum value. Expected a value >="):
        read(body_of(**{name: -1}))
    with pytest.raises(IntegerTooLarge, match=f"Invalid '{name}': integer above maximum value.") as caught:
        read(body_of(**{name: 129 if name == "n" else 10_000_001}))
    assert caught.value.param == name


HIDDEN = [
    (b'{"model":"m","n":1,"messages":[],"n":128}', "n"),
    (b'{"model":"m","n":1,"messages":[],"\\u006e":128}', "n"),
    (b'{"max_tokens":1,"model":"m","messages":[],"max_tokens":null}', "max_tokens"),
    (b'{"model":"cheap","messages":[],"model":"dear"}', "model"),
    (b'{"model":"m","messages":[{"content":[]}],"messages":[]}', "messages"),
    (b'{"model":"m","messages":[{},{"content":[{"type":"file"}],"content":""}]}', "messages[1].content"),
    (b'{"model":"m","messages":[{"cont\\u0065nt":[{"type":"file"}],"content":""}]}', "messages[0].content"),
    (b'{"model":"m","messages":[{"audio":{"id":"a"},"audio":null}]}', "messages[0].audio"),
    (b'{"model":"m","messages":[],"service_tier":"flex","service_tier":"priority"}', "service_tier"),
]


@pytest.mark.parametrize(("body", "param"), HIDDEN)
def test_what_could_be_read_in_two_ways_is_refused(body: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest, match="more than once") as caught:
        read(body)

    assert caught.value.param == param


@pytest.mark.parametrize("name", ["N", "Max_Tokens", "maxtokenS".replace("t", "_t"), "\u017ftream"])
def test_a_name_that_only_differs_in_its_case_is_refused_as_some_servers_ignore_that(name: str) -> None:
    with pytest.raises(InvalidRequest, match="Unknown parameter") as caught:
        read(body_of(**{name: 5}))

    assert caught.value.param == name


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","messages":[{"content":"\\u0061","content2":1}],"x":1}',
        b'{"model":"m","messages":[[{"content":1}],{"content":"a"},{"content":"b"}],"y":{"messages":1}}',
        b'{"model":"m","messages":[{"content":"","tool_calls":[{"content":1,"content":2}]}]}',
        b'{"model":"m","messages":[{"content":"x"}],"stop":["n","content","messages"],"n":1}',
    ],
)
def test_repetition_that_changes_no_cost_is_left_to_the_upstream(body: bytes) -> None:
    assert read(body).body == body


def test_escaped_names_hide_nothing() -> None:
    part = orjson.dumps({"type": "image_url", "image_url": {"url": "https://example.org"}})
    hidden = part.replace(b"image_url", b"image\\u005furl")
    bodies = [b'{"model":"m","messages":[{"content":[%b]}]}' % written for written in (part, hidden)]

    plain, escaped = (read(body).bound for body in bodies)
    assert escaped.sees
    assert escaped.input_tokens - len(bodies[1]) == plain.input_tokens - len(bodies[0])


@given(st.text(), st.text(max_size=5))
def test_no_text_has_more_bytes_than_the_request_that_holds_it(text: str, name: str) -> None:
    messages = [{"role": "user", "name": name, "content": text}]
    bound = read(orjson.dumps({"model": "m", "messages": messages})).bound

    assert bound.input_tokens >= len(text.encode()) + len(name.encode())
