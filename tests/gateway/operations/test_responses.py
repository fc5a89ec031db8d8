"""What a response can use at most, what it names, and what its answer says: read from requests good and bad."""

import sys
from contextlib import nullcontext
from typing import Any

import orjson
import pytest

from app.errors import IntegerTooLarge, IntegerTooSmall, InvalidRequest, InvalidType
from app.gateway.operations.operation import MeteredRequest, Whole
from app.gateway.operations.responses import Responses
from app.gateway.operations.responses_more import Compact, InputTokens
from app.gateway.responses_bound import hosted_tools
from app.gateway.responses_usage import NO_TOOLS, output_tokens, responses_usage
from app.gateway.stream import StoredObject
from app.prices.service import Bound
from app.prices.usage import Usage

RESPONSES = Responses()
FRAME = 512
IMAGE = 50_000
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {
        "cached_tokens": 20,
        "cache_write_tokens": 30,
        "cache_write_tokens_details": {"ttl_30m_tokens": 25, "ttl_12h_tokens": 5},
    },
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 40},
    "total_tokens": 150,
}
TOKENS = Usage(
    input_tokens=100,
    cached_input_tokens=20,
    cache_write_tokens=30,
    cache_write_12h_tokens=5,
    output_tokens=50,
    reasoning_tokens=40,
)


def body_of(**members: Any) -> bytes:
    return orjson.dumps({"model": "m", "input": "Hello.", **members})


def read(**members: Any) -> MeteredRequest:
    return RESPONSES.read(body_of(**members), {})


def bound_of(**members: Any) -> Bound:
    return read(**members).bound


def message(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def container(memory_limit: Any) -> dict[str, Any]:
    return {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": memory_limit}}


def test_text_is_at_most_a_token_for_each_byte() -> None:
    history = [
        {"role": "user", "content": "Hi."},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hi.", "annotations": []}],
        },
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "Rain."},
    ]
    for members in (
        {},
        {"input": history},
        {"tools": [{"type": "function", "name": "f"}], "instructions": "Be brief."},
    ):
        assert bound_of(**members) == Bound(len(body_of(**members)) + FRAME, None)


@pytest.mark.parametrize(
    "members",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"prompt": {"id": "pmpt_1"}},
        {"input": [message({"type": "input_file", "file_id": "file-1"})]},
        {"input": [message({"type": "input_file", "file_data": "data:application/pdf;base64,AAAA"})]},
        {"input": [message({"type": "something_new"})]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"id": "msg_1"}]},
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]},
        {"input": [{"type": "compaction", "encrypted_content": "gAAAA"}]},
        {"input": [{"type": "web_search_call", "id": "ws_1"}]},
        {"input": [{"type": "image_generation_call", "id": "ig_1"}]},
    ],
    ids=str,
)
def test_what_is_only_named_or_unknown_may_fill_the_context(members: dict[str, Any]) -> None:
    bound = bound_of(**members)

    assert bound.fills_context
    assert bound.sees


def test_images_are_a_flat_number_of_tokens_and_their_bytes_are_no_text() -> None:
    inlined = "data:image/png;base64," + "A" * 200_000
    parts = [{"type": "input_image", "image_url": inlined}, {"type": "input_image", "file_id": "file-1"}]
    bound = bound_of(input=[message(*parts)])

    assert not bound.fills_context
    assert 2 * IMAGE < bound.input_tokens < 2 * IMAGE + 2_000
    drawn = {"type": "image_generation_call", "id": "ig_1", "result": "A" * 200_000}
    screen = {"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": inlined}}
    shown = {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": inlined}]}
    for item in (drawn, screen, shown):
        assert IMAGE < bound_of(input=[item]).input_tokens < IMAGE + 2_000
        assert not bound_of(input=[item]).fills_context


def test_sound_is_heard() -> None:
    bound = bound_of(input=[message({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}})])

    assert bound.hears
    assert not bound.fills_context


@pytest.mark.parametrize(
    ("tool", "fees"),
    [
        ({"type": "web_search"}, {"web_searches": 3}),
        ({"type": "web_search_2025_08_26"}, {"web_searches": 3}),
        ({"type": "web_search_preview_2025_03_11"}, {"web_search_previews": 3}),
        ({"type": "file_search", "vector_store_ids": ["vs_1"]}, {"file_searches": 3}),
        ({"type": "code_interpreter", "container": {"type": "auto"}}, {"code_interpreter_sessions": 3}),
        ({"type": "shell", "environment": {"type": "container_auto"}}, {"code_interpreter_sessions": 3}),
        (container("1g"), {"code_interpreter_sessions": 3}),
        (container("4g"), {"code_interpreter_sessions": 12}),
        (container("16g"), {"code_interpreter_sessions": 48}),
        (container("64g"), {"code_interpreter_sessions": 192}),
        (container("128g"), {"code_interpreter_sessions": 192}),
        (container(["1g"]), {"code_interpreter_sessions": 192}),
        (container(None), {"code_interpreter_sessions": 3}),
        ({"type": "mcp", "server_label": "s"}, {}),
        ({"type": "namespace", "tools": [{"type": "mcp"}]}, {}),
    ],
    ids=str,
)
def test_each_call_of_a_tool_that_the_upstream_runs_costs_a_fee_and_another_reading_of_the_input(
    tool: dict[str, Any], fees: dict[str, int]
) -> None:
    for members in ({"tools": [tool]}, {"input": [{"type": "additional_tools", "role": "developer", "tools": [tool]}]}):
        bound = bound_of(**members, max_tool_calls=3)

        assert bound.units == Usage(**fees)
        assert bound.fills_context
        assert bound.inputs == 5
        assert not bound.is_unpriced


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "name": "web_search"},
        {"type": "custom"},
        {"type": "computer_use_preview"},
        {"type": "local_shell"},
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "namespace", "tools": [{"type": "function"}]},
    ],
    ids=str,
)
def test_tools_that_the_caller_runs_are_only_text(tool: dict[str, Any]) -> None:
    request = read(tools=[tool], max_output_tokens=5)

    assert request.bound == Bound(len(request.body) + FRAME, 5)
    assert request.is_capped


@pytest.mark.parametrize(("inner", "are_there"), [("function", False), ("mcp", True)])
def test_tools_nested_as_deep_as_json_may_be_are_looked_at(inner: str, are_there: bool) -> None:
    tool: dict[str, Any] = {"type": inner}
    for _ in range(510):
        tool = {"type": "namespace", "tools": [tool]}
    assert hosted_tools({"tools": [tool]}).are_there == are_there


@pytest.mark.parametrize("kind", [[], {}, 1, None], ids=str)
def test_what_has_a_type_that_is_no_text_may_be_anything(kind: Any) -> None:
    assert bound_of(tools=[{"type": kind}]).is_unpriced
    assert bound_of(input=[{"type": kind}]).fills_context
    assert bound_of(input=[{"role": "user", "content": [{"type": kind}]}]).fills_context


@pytest.mark.parametrize(
    "members", [{"tools": [{"type": "image_generation"}]}, {"tools": [{"type": "brand_new"}]}, {"prompt": {"id": "p"}}]
)
def test_a_tool_with_a_price_of_its_own_cannot_be_bounded(members: dict[str, Any]) -> None:
    assert bound_of(**members).is_unpriced


@pytest.mark.parametrize(
    ("agents", "is_unpriced"),
    [({"enabled": True, "max_concurrent_subagents": 1}, True), ({}, True), ({"enabled": False}, False), (None, False)],
    ids=str,
)
def test_agents_that_the_upstream_begins_cannot_be_bounded(agents: Any, is_unpriced: bool) -> None:
    assert bound_of(multi_agent=agents).is_unpriced == is_unpriced


def test_a_maximum_is_needed_for_the_output_and_for_the_calls_of_tools() -> None:
    search = [{"type": "web_search"}]

    assert not read().is_capped
    assert read(max_output_tokens=7).bound.output_tokens == 7
    assert read(max_output_tokens=7).is_capped
    assert not read(max_output_tokens=7, tools=search).is_capped
    assert read(max_output_tokens=7, tools=search, max_tool_calls=2).is_capped
    assert bound_of(tools=search).units.web_searches == 8


def test_maxima_are_put_where_there_are_none() -> None:
    assert orjson.loads(RESPONSES.capped(body_of(), 99)) == {"model": "m", "input": "Hello.", "max_output_tokens": 99}
    capped = orjson.loads(RESPONSES.capped(body_of(tools=[{"type": "mcp"}], max_output_tokens=None), 99))
    assert (capped["max_output_tokens"], capped["max_tool_calls"]) == (99, 8)
    kept = orjson.loads(RESPONSES.capped(body_of(tools=[{"type": "mcp"}], max_tool_calls=1), 99))
    assert kept["max_tool_calls"] == 1
    hidden = body_of(tools=[{"type": "mcp"}]).replace(b"tools", b"\\u0074ools")
    assert orjson.loads(RESPONSES.capped(hidden, 99))["max_tool_calls"] == 8


@pytest.mark.parametrize(("ttl", "keeps"), [("12h", True), ("30m", False), (None, False)])
def test_a_cache_entry_that_is_kept_longer_is_seen(ttl: Any, keeps: bool) -> None:
    assert bound_of(prompt_cache_options={"ttl": ttl}).keeps_cache is keeps


def test_text_that_is_counted_is_never_more_than_its_bytes() -> None:
    request = read(input=[message({"type": "input_text", "text": "word " * 400})], instructions="Be brief.")
    counted = RESPONSES.counted_bound(request, lambda text: len(text.split()) + 1)

    assert counted is not None
    assert 400 < counted.input_tokens < request.bound.input_tokens
    nested = RESPONSES.read(b'{"model":"m","input":"x","new":' + b"[" * 300 + b"]" * 300 + b"}", {})
    assert RESPONSES.counted_bound(nested, len) is None


def test_what_is_named_of_stored_objects_is_found_wherever_it_is() -> None:
    request = read(
        previous_response_id="resp_1",
        conversation={"id": "conv_1"},
        input=[
            {"type": "item_reference", "id": "msg_1"},
            {"id": "msg_2"},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "image_generation_call", "id": "ig_1"},
            message({"type": "input_file", "file_id": "file-1"}, {"type": "input_image", "file_id": "file-2"}),
            {"type": "computer_call_output", "output": {"type": "computer_screenshot", "file_id": "file-3"}},
            {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1", "code": "1"},
        ],
        tools=[
            {"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]},
            {"type": "code_interpreter", "container": "cntr_2"},
            {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-4"]}},
            {"type": "image_generation", "input_image_mask": {"file_id": "file-5"}},
            {"type": "shell", "environment": {"type": "container_reference", "container_id": "cntr_3"}},
            {"type": "shell", "environment": {"type": "container_auto", "skills": [{"skill_id": "skill_1"}]}},
        ],
    )

    assert set(request.references) == {
        *("resp_1", "conv_1", "msg_1", "msg_2", "rs_1", "ig_1", "cntr_1", "cntr_2", "cntr_3", "skill_1"),
        *("file-1", "file-2", "file-3", "file-4", "file-5", "vs_1", "vs_2"),
    }


def test_what_only_looks_like_a_reference_is_none() -> None:
    parameters = {"properties": {"file_id": {"type": "string"}}, "example": {"file_id": "file-1"}}
    cited = {"type": "output_text", "text": "x", "annotations": [{"type": "file_citation", "file_id": "file-1"}]}
    request = read(
        input=[
            {"role": "user", "content": '{"file_id": "file-1"}'},
            {"role": "assistant", "id": "msg_1", "content": [cited]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"},
            {"type": "reasoning", "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text", "text": "x"}]},
            {"type": "image_generation_call", "id": "ig_1", "result": "AAAA"},
            message({"type": "input_image", "file_id": None}, {"type": "input_file", "file_id": 5}),
        ],
        tools=[
            {"type": "function", "name": "f", "parameters": parameters},
            {"type": "shell", "environment": {"skills": [{"skill_id": "openai-spreadsheets"}]}},
        ],
        metadata={"file_id": "file-1"},
    )

    assert request.references == ()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model":"m","input":[{"content":[{"type":"input_file","file_id":"file-2","file_id":null}]}]}', "file_id"),
        (b'{"model":"m","input":"x","tools":[{"type":"web_search","type":"function"}]}', "type"),
        (b'{"model":"m","input":"x","tools":[{"t\\u0079pe":"web_search","type":"function"}]}', "type"),
        (
            b'{"model":"m","input":"x","previous_response_id":"resp_2","previous_response_id":null}',
            "previous_response_id",
        ),
        (b'{"model":"m","input":"x","Previous_Response_Id":"resp_2"}', "Previous_Response_Id"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(body: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        RESPONSES.read(body, {})

    assert caught.value.param == param


def test_a_body_that_is_nested_too_deeply_to_be_looked_through_is_refused() -> None:
    refused = pytest.raises(InvalidRequest, match="nested too deeply")
    with refused if sys.version_info < (3, 12) else nullcontext():  # newer ones look through whatever orjson reads
        RESPONSES.read(b'{"model":"m","input":"x","new":' + b"[" * 1_020 + b"]" * 1_020 + b"}", {})


@pytest.mark.parametrize(
    ("members", "error", "param"),
    [
        ({"model": 5}, InvalidType, "model"),
        ({"stream": "yes"}, InvalidType, "stream"),
        ({"store": 1}, InvalidType, "store"),
        ({"background": "no"}, InvalidType, "background"),
        ({"max_output_tokens": -1}, IntegerTooSmall, "max_output_tokens"),
        ({"max_output_tokens": 1.5}, InvalidType, "max_output_tokens"),
        ({"max_tool_calls": 2**40}, IntegerTooLarge, "max_tool_calls"),
    ],
    ids=str,
)
def test_what_decides_about_the_cost_is_checked(members: dict[str, Any], error: type[Exception], param: str) -> None:
    with pytest.raises(error) as caught:
        read(**members)
    assert getattr(caught.value, "param", None) == param


def test_a_request_may_leave_its_model_to_a_stored_prompt() -> None:
    assert RESPONSES.read(b'{"prompt":{"id":"pmpt_1"}}', {}).model == "default"
    assert read(model=None).model == "default"


def test_a_maximum_of_0_bounds_nothing() -> None:
    request = read(max_output_tokens=0, max_tool_calls=0)
    assert request.bound.output_tokens is None
    assert not request.is_capped
    assert orjson.loads(RESPONSES.capped(request.body, 99))["max_output_tokens"] == 99


def test_a_request_is_stored_unless_it_says_otherwise() -> None:
    assert read().stores
    assert read(store=None).stores
    assert not read(store=False).stores


def test_an_answer_tells_its_tokens_and_its_calls_of_tools() -> None:
    output = [
        {"type": "web_search_call", "id": "ws_1", "action": {"type": "search"}},
        {"type": "web_search_call", "id": "ws_2", "action": {"type": "open_page"}},
        {"type": "web_search_call", "id": "ws_3"},
        {"type": "file_search_call", "id": "fs_1"},
        {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"},
        {"type": "code_interpreter_call", "id": "ci_2", "container_id": "cntr_1"},
        {"type": "code_interpreter_call", "id": "ci_3", "container_id": "cntr_own"},
        {"type": "shell_call", "id": "sh_1", "environment": {"container_id": "cntr_2"}},
        {"type": "image_generation_call", "id": "ig_1"},
        {"type": "message"},
    ]
    response = {"id": "resp_1", "model": "m-1", "service_tier": "flex", "usage": USAGE, "output": output}
    request = read(tools=[{"type": "code_interpreter", "container": "cntr_own"}])
    answered = RESPONSES.answered(Whole(request, orjson.dumps(response), "application/json"))

    assert answered is not None
    assert answered.usage == TOKENS._replace(web_searches=2, file_searches=1, code_interpreter_sessions=2, images=1)
    assert (answered.model, answered.service_tier, answered.is_pending) == ("m-1", "flex", False)
    assert {each.id for each in answered.stored if each.kind == "container"} == {"cntr_1", "cntr_2", "cntr_own"}
    assert StoredObject("resp_1", "response") in answered.stored
    assert StoredObject("ws_1", "item") in answered.stored
    previewed = responses_usage(response, read(tools=[{"type": "web_search_preview"}]).tools)
    assert previewed is not None
    assert (previewed.web_searches, previewed.web_search_previews) == (0, 2)


@pytest.mark.parametrize(
    ("asked", "answered", "sessions"),
    [
        ([container("1g")], [], 2),
        ([container("4g")], [container("4g")], 8),
        ([container("4g"), container("16g")], [], 32),
        ([{"type": "shell", "environment": {"type": "container_auto", "memory_limit": "64g"}}], [], 128),
        ([container("big")], [container(None)], 128),
        ([], [container("16g")], 32),
        ([], None, 2),
    ],
)
def test_a_container_costs_as_many_sessions_as_its_memory_is_worth(asked: Any, answered: Any, sessions: int) -> None:
    output = [
        {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"},
        {"type": "shell_call", "id": "sh_1", "environment": {"container_id": "cntr_2"}},
    ]
    response = {"usage": USAGE, "output": output, "tools": answered}

    assert responses_usage(response, read(tools=asked).tools) == TOKENS._replace(code_interpreter_sessions=sessions)


def test_containers_of_earlier_calls_that_the_input_repeats_are_not_new() -> None:
    earlier = [
        {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"},
        {"type": "shell_call", "id": "sh_1", "environment": {"type": "container_reference", "container_id": "cntr_2"}},
    ]
    new = {"type": "code_interpreter_call", "id": "ci_2", "container_id": "cntr_3"}
    request = read(tools=[container(None)], input=[*earlier, message()])
    response = {"usage": USAGE, "output": [*earlier, new]}

    assert set(request.references) == {"cntr_1", "cntr_2"}
    assert responses_usage(response, request.tools) == TOKENS._replace(code_interpreter_sessions=1)


def test_of_a_response_that_is_not_stored_only_its_containers_stay() -> None:
    output = [{"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"}]
    body = orjson.dumps({"id": "resp_1", "usage": USAGE, "output": output})
    answered = RESPONSES.answered(Whole(read(store=False), body, ""))

    assert answered is not None
    assert answered.stored == (StoredObject("cntr_1", "container"),)


@pytest.mark.parametrize(
    "usage",
    [None, {}, {**USAGE, "input_tokens": -1}, {**USAGE, "output_tokens": "50"}, {**USAGE, "input_tokens": 10**12}, []],
    ids=str,
)
def test_usage_that_cannot_be_true_is_none(usage: Any) -> None:
    assert responses_usage({"usage": usage}, NO_TOOLS) is None
    text = {"type": "message", "content": [{"type": "output_text", "text": "abcdefgh"}]}
    call = {"type": "function_call", "arguments": "{}"}
    answered = RESPONSES.answered(Whole(read(), orjson.dumps({"usage": usage, "output": [text, call]}), ""))

    assert answered is not None
    assert (answered.usage, answered.output_tokens) == (None, 3)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>"])
def test_what_is_no_object_is_no_response(body: bytes) -> None:
    assert RESPONSES.answered(Whole(read(), body, "")) is None
    assert InputTokens().answered(Whole(read(), body, "")) is None


def test_a_response_in_the_background_is_pending_until_it_says_what_it_used() -> None:
    for status, is_pending in [("queued", True), ("in_progress", True), ("completed", False)]:
        body = orjson.dumps({"id": "resp_1", "status": status, "usage": None, "output": []})
        answered = RESPONSES.answered(Whole(read(background=True), body, ""))
        assert answered is not None
        assert answered.is_pending is is_pending


def test_output_that_is_no_text_counts_nothing() -> None:
    assert output_tokens({"output": [None, 5, {"content": None, "summary": [{"text": "abcd"}]}]}) == 1


def event(kind: str, number: int, **members: Any) -> bytes:
    document = {"type": kind, "sequence_number": number, **members}
    return f"event: {kind}\ndata: ".encode() + orjson.dumps(document) + b"\n\n"


def test_a_stream_is_learned_from_its_first_and_its_last_event() -> None:
    stream = RESPONSES.stream(read(stream=True))
    created = event("response.created", 0, response={"id": "resp_1", "model": "m", "output": []})
    delta = event("response.output_text.delta", 1, delta='"type":"response.completed"\nevent: response.completed')
    output = [{"type": "message", "id": "msg_1"}]
    last = {"id": "resp_1", "model": "m-1", "service_tier": "default", "usage": USAGE, "output": output}
    completed = event("response.completed", 2, response=last)

    assert stream.feed(created) == created
    assert list(stream.take_stored()) == [StoredObject("resp_1", "response")]
    assert stream.feed(delta) == delta
    assert not stream.is_done
    assert list(stream.take_stored()) == []
    assert stream.feed(completed) == completed
    assert list(stream.take_stored()) == [StoredObject("msg_1", "item")]
    assert (stream.is_done, stream.usage, stream.answered_model) == (True, TOKENS, "m-1")


def test_events_without_names_are_understood_too() -> None:
    stream = RESPONSES.stream(read(stream=True, store=False))
    stream.feed(b'data: {"type":"response.output_text.delta","delta":"abcdefgh"}\n\n')
    stream.feed(b'data: { "sequence_number" : 7, "type" : "response.incomplete", "response": {"id": "resp_1"} }\n\n')

    assert stream.is_done
    assert stream.usage is None
    assert stream.stored == []
    assert stream.relayed_tokens() == 2


def test_an_error_in_a_stream_is_one_and_an_error_of_ours_follows_its_numbers() -> None:
    stream = RESPONSES.stream(read(stream=True))
    stream.feed(event("response.output_text.delta", 40, delta="a") + event("response.output_text.delta", 41, delta="a"))
    stream.feed(b": nothing new\n\n")
    assert not stream.has_error
    error = {"message": "Gone.", "type": "upstream_error", "param": None, "code": "upstream_unreachable"}
    name, data = stream.error_event(error).split(b"\n", 1)
    assert name == b"event: error"
    assert orjson.loads(data.removeprefix(b"data: ")) == {
        "type": "error",
        "code": "upstream_unreachable",
        "message": "Gone.",
        "param": None,
        "sequence_number": 42,
        "error": error,
    }
    stream.feed(event("error", 42, code="server_error", message="x", param=None))
    assert stream.has_error


def test_a_number_of_the_callers_own_is_not_taken_for_that_of_an_event() -> None:
    stream = RESPONSES.stream(read(stream=True))
    response = {"id": "resp_1", "metadata": {"sequence_number": "seven"}}
    stream.feed(event("response.created", 3, response=response))
    _, data = stream.error_event({"message": "Gone.", "code": None, "param": None}).split(b"\n", 1)
    assert orjson.loads(data.removeprefix(b"data: "))["sequence_number"] == 4


def test_a_failed_response_ends_its_stream_as_an_error() -> None:
    stream = RESPONSES.stream(read(stream=True))
    stream.feed(event("response.failed", 1, response={"id": "resp_1", "usage": None}))

    assert (stream.is_done, stream.has_error, stream.usage) == (True, True, None)


def test_counting_is_free_and_needs_no_model() -> None:
    counting = InputTokens()
    request = counting.read(b'{"input":"x","previous_response_id":"resp_1"}', {})

    assert counting.is_free
    assert (request.references, request.stores, request.bound) == (("resp_1",), False, Bound(0, 0))
    answered = counting.answered(Whole(request, b'{"input_tokens":5}', ""))
    assert answered is not None
    assert answered.usage == Usage()


def test_a_compaction_is_metered_and_not_stored() -> None:
    request = Compact().read(body_of(stream=True, background=True), {})

    assert (request.streamed, request.stores, request.is_background, request.is_capped) == (False, False, False, True)


def test_a_name_that_is_there_twice_among_very_many_is_found_without_comparing_each_with_all() -> None:
    names = b",".join(b'"k%d":0' % number for number in range(300_000))

    with pytest.raises(InvalidRequest, match="'k299999': it is there more than once"):  # by squares it takes minutes
        RESPONSES.read(b'{"input":"Hello.","metadata":{%b,"k299999":0}}' % names, {})


def test_very_many_items_of_a_stream_are_counted_each_by_itself() -> None:
    stream = RESPONSES.stream(RESPONSES.read(body_of(tools=[{"type": "code_interpreter", "container": "cntr_0"}]), {}))
    searches = {"type": "web_search_call"}
    for number in range(40_000):  # by squares it takes minutes
        runs = {"type": "code_interpreter_call", "container_id": f"cntr_{number // 2 % 3}"}
        event = {"type": "response.output_item.done", "item": runs if number % 2 else searches}
        stream.feed(b"event: response.output_item.done\ndata: %b\n\n" % orjson.dumps(event))

    stream.relayed_tokens()
    assert stream.apart == Usage(web_searches=20_000, code_interpreter_sessions=2)


def test_very_many_objects_that_a_response_stores_are_noted_once_each() -> None:
    stream = RESPONSES.stream(RESPONSES.read(body_of(), {}))
    items = [{"id": f"msg_{number}"} for number in range(60_000)]
    for name in ("created", "completed"):  # by squares it takes minutes
        event = {"type": f"response.{name}", "response": {"id": "resp_1", "output": items}}
        stream.feed(b"event: response.%b\ndata: %b\n\n" % (name.encode(), orjson.dumps(event)))

    assert len(stream.stored) == len(set(stream.stored)) == 60_001
