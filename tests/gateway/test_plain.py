"""Plain answers over the socket: the upstream's bytes, few of its headers, one row, one receipt."""

import gzip
from typing import Any

import httpx
import orjson
import pytest
from starlette.types import Receive, Scope, Send

from app.core.clock import monotonic_seconds
from app.observability.context import SCOPE_KEY, CallContext
from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.canned import CannedUpstream
from tests.fixtures.weir import RunningWeir
from tests.simulator.wire import Wire

HELLO: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
USAGE = {"prompt_tokens": 100, "completion_tokens": 10}
ALWAYS = {
    "date",
    "x-request-id",
    "x-content-type-options",
    "referrer-policy",
    "x-frame-options",
    "cache-control",
    "content-security-policy",
    "content-length",
    "content-type",
}


async def ask(weir: RunningWeir, *, script: str = "", key: str | None = None, **headers: str) -> httpx.Response:
    async with weir.http(key) as client:
        headers = {**headers, **({"x-simulator": script} if script else {})}
        return await client.post("/v1/chat/completions", json=HELLO, headers=headers)


async def test_an_answer_comes_back_byte_for_byte(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    body = (
        b' { "id" : "x","choices":[ ],"usage":{"prompt_tokens":100,"completion_tokens":10},"new":{"b":1,"b":2},'
        b'"big":123456789012345678901234567890,"text":"caf\\u00e9 caf\xc3\xa9" } \n'
    )
    canned.answers_json(body)
    answer = await ask(canned_weir)
    assert (answer.status_code, answer.content) == (200, body)


async def test_only_harmless_headers_of_an_answer_come_back(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    body = orjson.dumps({"choices": [], "usage": USAGE})
    crossing = {
        "content-type": "application/json; charset=utf-8",
        "content-disposition": 'attachment; filename="caf\xe9"',
        "content-language": "fr",
        "etag": '"of-the-answer"',
        "openai-model": "gpt-4o-mini-2024-07-18",
        "openai-poll-after-ms": "5",
        "openai-processing-ms": "12",
        "openai-version": "2020-10-01",
        "retry-after": "3",
        "retry-after-ms": "3000",
        "x-should-retry": "false",
        "x-ratelimit-limit-project-tokens": "1",
        "x-ratelimit-remaining-requests": "9999",
    }
    staying = {
        "access-control-allow-origin": "*",
        "alt-svc": 'h3=":443"',
        "authorization": "Bearer planted",
        "cache-control": "public, max-age=600",
        "cf-ray": "planted",
        "keep-alive": "timeout=5",
        "location": "https://planted.example",
        "openai-organization": "org-planted",
        "openai-project": "proj_planted",
        "proxy-authenticate": "Basic",
        "server": "planted",
        "set-cookie": "session=planted; Path=/",
        "strict-transport-security": "max-age=1",
        "trailer": "x-planted",
        "via": "1.1 planted",
        "www-authenticate": "planted",
        "x-envoy-upstream-service-time": "1",
        "x-request-id": "upstreams-own-id",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**crossing, **staying}.items())
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nset-cookie: second=planted\r\n{lines}\r\n"
    canned.answers(head.encode("latin-1") + body)

    wire = Wire(canned_weir.base_url)
    received = await wire.ask(HELLO, authorization=f"Bearer {canned_weir.api_key}")

    for name, value in crossing.items():
        assert received.headers[name] == value
    assert set(received.headers) - set(crossing) == (ALWAYS | {"x-weir-cost-usd", "server-timing", "connection"}) - set(
        crossing
    )
    assert "planted" not in str(received.headers)
    assert received.headers["cache-control"] == "no-store"
    [entry] = await canned_weir.entries()
    assert entry["upstream_request_id"] == "upstreams-own-id"
    assert received.headers["x-request-id"] == entry["request_id"] != entry["upstream_request_id"]


async def test_an_upstreams_request_id_is_made_fit_for_the_ledger(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    body = orjson.dumps({"model": "m\0" * 500, "service_tier": 5, "choices": [], "usage": USAGE})
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nx-request-id: caf\xe9{'x' * 4_000}\r\n\r\n"
    canned.answers(head.encode("latin-1") + body)

    assert (await ask(canned_weir)).status_code == 200
    [entry] = await canned_weir.entries()
    assert entry["upstream_request_id"] == "caf" + "x" * 252
    assert (entry["answered_model"], entry["service_tier"]) == ("m" * 128, None)


@pytest.mark.parametrize("request_id", ["callers-own.id:1_2", "a" * 8, "A" * 128])
async def test_a_callers_well_formed_request_id_is_kept(weir: RunningWeir, request_id: str) -> None:
    answer = await ask(weir, **{"x-request-id": request_id})
    assert answer.headers.get_list("x-request-id") == [request_id]
    [call] = weir.arrivals
    [entry] = await weir.entries()
    assert call.request_id == entry["request_id"] == request_id


@pytest.mark.parametrize(
    "request_id", ["short", "a" * 129, "with space", '"quoted-id"', "<script>1", "path/../up", "tab\tinside"]
)
async def test_an_ill_formed_request_id_is_replaced(weir: RunningWeir, request_id: str) -> None:
    answer = await ask(weir, **{"x-request-id": request_id})
    given = answer.headers["x-request-id"]
    assert given.startswith("req_")
    [call] = weir.arrivals
    assert call.request_id == given


async def test_a_header_cannot_be_injected_by_way_of_the_request_id(weir: RunningWeir) -> None:
    wire = Wire(weir.base_url)
    received = await wire.ask(
        HELLO, authorization=f"Bearer {weir.api_key}", x_request_id="abcdefgh\r\nx-evil: 1\r\ncookie: planted=1"
    )
    assert received.headers["x-request-id"] == "abcdefgh"
    assert "x-evil" not in received.headers
    [call] = weir.arrivals
    assert "x-evil" not in call.headers
    assert "cookie" not in call.headers


async def test_every_count_of_the_usage_is_in_the_row_and_on_the_receipt(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    usage = {
        "prompt_tokens": 1_000,
        "completion_tokens": 200,
        "prompt_tokens_details": {"cached_tokens": 600, "audio_tokens": 0, "image_tokens": 7},
        "completion_tokens_details": {"reasoning_tokens": 50},
    }
    document = {"model": "gpt-4o-mini-2024-07-18", "service_tier": "default", "choices": [], "usage": usage}
    canned.answers_json(document)

    answer = await ask(canned_weir)
    [entry] = await canned_weir.entries()
    async with canned_weir.http() as client:
        receipt = (await client.get(f"/v1/requests/{answer.headers['x-request-id']}")).json()

    cost = 400 * 150 + 600 * 75 + 200 * 600  # 0.15, 0.075 and 0.60 dollars per million tokens
    assert entry["cost_nano"] == cost
    assert receipt["cost_usd"] == answer.headers["x-weir-cost-usd"] == "0.000225"
    assert receipt["tokens"] == {
        "input": 1_000,
        "cached_input": 600,
        "cache_write": 0,
        "input_audio": 0,
        "output": 200,
        "reasoning": 50,
        "output_audio": 0,
        "other": {"input_image_tokens": 7},
    }
    assert receipt["id"] == entry["request_id"]
    assert (receipt["model"], receipt["answered_model"]) == ("gpt-4o-mini", "gpt-4o-mini-2024-07-18")
    assert (receipt["status"], receipt["outcome"], receipt["ending"]) == (200, "completed", "settled")
    assert (receipt["upstream"], receipt["project_id"]) == ("openai", DEFAULT_PROJECT_ID)
    assert (receipt["streamed"], receipt["flags"], receipt["service_tier"]) == (False, [], "default")
    assert receipt["timings"]["first_byte_ms"] <= receipt["timings"]["upstream_ms"] <= receipt["timings"]["total_ms"]


async def test_a_model_without_a_price_is_served_and_flagged(weir: RunningWeir) -> None:
    async with weir.http() as client:
        answer = await client.post("/v1/chat/completions", json={**HELLO, "model": "never-heard-of"})
    assert (answer.status_code, answer.headers["x-weir-cost-usd"]) == (200, "0")
    [entry] = await weir.entries()
    assert (entry["cost_nano"], entry["price_id"], entry["flags"]) == (0, None, ["model_not_priced"])


@pytest.mark.parametrize(
    "usage",
    [
        None,
        "none",
        {},
        {"prompt_tokens": -5, "completion_tokens": 10},
        {"prompt_tokens": 10**15, "completion_tokens": 10},
        {"prompt_tokens": "100", "completion_tokens": 10},
        {"prompt_tokens": 100, "completion_tokens": 10.0},
        {"prompt_tokens": True, "completion_tokens": 10},
    ],
)
async def test_usage_that_cannot_be_true_is_replaced_by_our_own_count(
    canned_weir: RunningWeir, canned: CannedUpstream, usage: object
) -> None:
    choices = [{"index": 0, "message": {"role": "assistant", "content": "12345678"}, "finish_reason": "stop"}]
    canned.answers_json({"model": "gpt-4o-mini", "choices": choices, "usage": usage})

    answer = await ask(canned_weir)
    assert answer.status_code == 200
    [entry] = await canned_weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "no_usage", 200)
    assert (entry["input_tokens"], entry["output_tokens"]) == (1 + 1 + 2 + 3, 2)  # role, user, content, its text
    assert entry["cost_nano"] == 7 * 150 + 2 * 600


async def test_an_answer_without_usage_is_estimated(weir: RunningWeir) -> None:
    assert (await ask(weir, script="no_usage=1;output_tokens=40")).status_code == 200
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"]) == ("estimated", "no_usage")
    assert 0 < entry["output_tokens"] <= 100


async def test_a_plain_answer_is_compressed_neither_by_its_upstream_nor_on_its_way_to_the_caller(
    weir: RunningWeir,
) -> None:
    answer = await ask(weir, script="output_tokens=5000", **{"accept-encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert answer.json()["usage"]["completion_tokens"] == 5000
    assert [call.headers["accept-encoding"] for call in weir.arrivals] == ["identity"]


async def test_an_answer_that_was_compressed_unasked_is_not_unpacked(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    document = {"choices": [], "usage": USAGE}
    body = gzip.compress(orjson.dumps(document))
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {len(body)}"
    canned.answers(head.encode() + b"\r\n\r\n" + body)

    answer = await ask(canned_weir, **{"accept-encoding": "identity"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_invalid_response")
    assert "content-encoding" not in answer.headers
    [entry] = await canned_weir.entries()
    assert (entry["ending"], entry["outcome"]) == ("estimated", "upstream_broke")


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "text/html"])
async def test_a_wrong_content_type_on_good_json_is_relayed_as_it_came(weir: RunningWeir, content_type: str) -> None:
    answer = await ask(weir, script=f"content_type={content_type}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    [entry] = await weir.entries()
    assert entry["ending"] == "settled"


async def test_an_admin_key_cannot_call_models(weir: RunningWeir) -> None:
    answer = await ask(weir, key=weir.admin_key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_permissions")
    assert not weir.arrivals


async def test_a_receipt_is_seen_by_its_project_and_by_administrators_only(weir: RunningWeir) -> None:
    await weir.sql("INSERT INTO projects (id, name) VALUES ('proj_other', 'Other')")
    other = await weir.wiring.keys.create("api", "another project's key", project_id="proj_other")
    request_id = (await ask(weir)).headers["x-request-id"]
    path = f"/v1/requests/{request_id}"

    async with weir.http() as mine, weir.http(weir.admin_key) as admin, weir.http(other.value) as theirs:
        assert (await mine.get(path)).json()["id"] == request_id
        assert (await admin.get(path)).json()["id"] == request_id
        refused = await theirs.get(path)
        missing = await theirs.get("/v1/requests/req_never_seen")
    assert refused.status_code == missing.status_code == 404
    assert refused.json()["error"]["code"] == missing.json()["error"]["code"] == "not_found"
    assert refused.json()["error"]["message"] == missing.json()["error"]["message"].replace(
        "req_never_seen", request_id
    )


async def test_fastapi_answers_metered_calls_as_their_short_way_does(weir: RunningWeir) -> None:
    async def long_way(scope: Scope, receive: Receive, send: Send) -> None:
        context = CallContext("req_long_way", monotonic_seconds(), "POST", scope["path"])
        await weir.app.router({**scope, "app": weir.app, SCOPE_KEY: context}, receive, send)

    headers = {"authorization": f"Bearer {weir.api_key}"}
    transport = httpx.ASGITransport(long_way)
    async with httpx.AsyncClient(transport=transport, base_url="http://weir", headers=headers) as client:
        there = await client.post("/v1/chat/completions", json=HELLO)
    here = await ask(weir)

    assert (there.status_code, there.json()["choices"]) == (200, here.json()["choices"])
    assert there.headers["x-weir-cost-usd"] == here.headers["x-weir-cost-usd"]
    assert len(await weir.entries()) == 2


@pytest.mark.parametrize("status", [600, 999])
async def test_a_status_that_is_none_is_no_answer(
    canned_weir: RunningWeir, canned: CannedUpstream, status: int
) -> None:
    canned.answers_json({"error": {"message": "denied"}}, status=status)
    answer = await ask(canned_weir)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_invalid_response")
