from typing import Any

import openai
import orjson
import pytest
from openai import AsyncOpenAI

from app.simulator.app import Simulator, create_simulator
from app.simulator.server import serve_simulator
from tests.simulator.wire import ASK, Wire

USER: Any = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": ";status=500"}, "model", "missing_required_parameter"),
        ({"model": 4}, "model", "invalid_type"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": "Hello"}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": ["Hello"]}, "messages[0]", "invalid_type"),
        ({"messages": [{"content": "Hello"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", "invalid_type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
            "missing_required_parameter",
        ),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"n": True}, "n", "invalid_type"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 129}, "n", "integer_above_max_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", "integer_below_min_value"),
        ({"tools": {}}, "tools", "invalid_type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
        (
            {"tools": [{"type": "function", "function": {}}]},
            "tools[0].function.name",
            "missing_required_parameter",
        ),
        (
            {
                "tools": [{"type": "function", "function": {"name": "a"}}],
                "tool_choice": {"type": "function", "function": {"name": "b"}},
            },
            "tool_choice",
            "invalid_value",
        ),
        ({"response_format": "json"}, "response_format", "invalid_type"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
    ],
)
async def test_a_field_that_is_missing_or_wrong_is_named(
    wire: Wire, simulator: Simulator, changes: dict[str, Any], param: str, code: str
) -> None:
    received = await wire.ask({**ASK, **changes})
    error = orjson.loads(received.body)["error"]
    assert received.status == 400
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    (call,) = simulator.account.calls
    assert (call.ending, call.status, call.prompt_tokens, call.completion_tokens) == ("refused", 400, 0, 0)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff"])
async def test_a_body_that_is_no_json_object_is_refused(wire: Wire, body: bytes) -> None:
    received = await wire.ask(body)
    assert received.status == 400
    assert "could not parse the JSON body" in orjson.loads(received.body)["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/embeddings"), ("POST", "/v1/unknown"), ("GET", "/"), ("DELETE", "/v1/models/sim-small")],
)
async def test_everything_else_is_not_found(wire: Wire, simulator: Simulator, method: str, path: str) -> None:
    received = await wire.ask(b"{}", path, method=method)
    assert received.status == 404
    assert orjson.loads(received.body)["error"]["message"] == f"Invalid URL ({method} {path})"
    assert simulator.account.calls[0].body == b"{}"


@pytest.mark.parametrize("script", ["latency=1", "status=201", "latency_ms=-1", "latency_ms", "hang=now", "no_usage=2"])
async def test_a_bad_script_is_refused_with_the_list_of_keys(client: AsyncOpenAI, script: str) -> None:
    with pytest.raises(openai.BadRequestError, match="cut_after=") as refusal:
        await client.chat.completions.create(model="sim", messages=USER, extra_headers={"x-simulator": script})
    assert refusal.value.param == "x-simulator"
    with pytest.raises(openai.BadRequestError, match="latency_ms=") as refusal:
        await client.chat.completions.create(model=f"sim;{script}", messages=USER)
    assert refusal.value.param == "model"


@pytest.mark.parametrize(
    ("status", "error_class", "kind", "code"),
    [
        (400, openai.BadRequestError, "invalid_request_error", "invalid_value"),
        (401, openai.AuthenticationError, "invalid_request_error", "invalid_api_key"),
        (403, openai.PermissionDeniedError, "request_forbidden", "unsupported_country_region_territory"),
        (404, openai.NotFoundError, "invalid_request_error", "model_not_found"),
        (418, openai.APIStatusError, "invalid_request_error", None),
        (429, openai.RateLimitError, "requests", "rate_limit_exceeded"),
        (500, openai.InternalServerError, "server_error", None),
        (503, openai.InternalServerError, "service_unavailable_error", "server_is_overloaded"),
        (529, openai.InternalServerError, "overloaded_error", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_scripted_status_is_answered_as_openai_would(
    client: AsyncOpenAI,
    simulator: Simulator,
    status: int,
    error_class: type[openai.APIStatusError],
    kind: str,
    code: str | None,
    stream: bool,
) -> None:
    with pytest.raises(error_class) as refusal:
        await client.chat.completions.create(model=f"sim;status={status}", messages=USER, stream=stream)
    error = refusal.value
    assert (error.status_code, error.type, error.code) == (status, kind, code)
    (call,) = simulator.account.calls
    assert error.request_id == call.id
    assert (call.ending, call.status, call.prompt_tokens, call.completion_tokens) == ("refused", status, 0, 0)


async def test_a_scripted_error_has_the_code_and_the_headers_of_the_script(client: AsyncOpenAI) -> None:
    script = "status=429;error_code=insufficient_quota;header.retry-after=2;header.X-RateLimit-Remaining-Tokens=0"
    with pytest.raises(openai.RateLimitError) as refusal:
        await client.chat.completions.create(model="sim", messages=USER, extra_headers={"x-simulator": script})
    assert (refusal.value.type, refusal.value.code) == ("insufficient_quota", "insufficient_quota")
    assert refusal.value.response.headers["retry-after"] == "2"
    assert refusal.value.response.headers.get_list("x-ratelimit-remaining-tokens") == ["0"]


async def test_the_header_wins_over_the_model_name(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="sim;output_tokens=2;cached_tokens=1", messages=USER, extra_headers={"x-simulator": "output_tokens=4"}
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 1


async def test_only_the_right_key_is_served_when_there_is_one() -> None:
    simulator = create_simulator(api_key="sk-the-right-upstream-key")
    async with serve_simulator(simulator) as base_url:
        wire = Wire(base_url)
        right = await wire.ask(ASK, authorization="Bearer sk-the-right-upstream-key")
        wrong = await wire.ask(ASK, authorization="Bearer sk-some-other-upstream-key")
        missing = await wire.ask(ASK)
        books = await wire.ask(path="/simulator/account", method="GET")
    assert right.status == 200
    assert wrong.status == missing.status == books.status == 401
    error = orjson.loads(wrong.body)["error"]
    assert error["code"] == "invalid_api_key"
    assert "sk-some-********-key" in error["message"]
    assert [call.ending for call in simulator.account.calls] == ["finished", "refused", "refused"]
    assert simulator.account.calls[1].body == orjson.dumps(ASK)
