"""Upstreams that refuse, and upstreams that are not there: what the caller sees, and what it is charged."""

from typing import Any

import openai
import orjson
import pytest
from pydantic import SecretStr

from tests.fixtures.canned import CannedUpstream
from tests.fixtures.ports import NOBODY_LISTENS
from tests.fixtures.weir import UPSTREAM_KEY, RunningWeir, StartWeir

HELLO: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
PLAIN_AND_STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@PLAIN_AND_STREAMED
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
        (529, openai.InternalServerError),
    ],
)
async def test_a_refusal_comes_back_as_it_came_and_costs_nothing(
    weir: RunningWeir, status: int, error: type[openai.APIStatusError], stream: bool
) -> None:
    script = f"status={status};error_code=its_own_code;header.retry-after=7;header.x-should-retry=false"
    async with weir.openai() as client:
        with pytest.raises(error) as caught:
            await client.chat.completions.create(**HELLO, stream=stream, extra_headers={"x-simulator": script})

    answer = caught.value.response
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert caught.value.code == "its_own_code"
    assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("7", "false")
    assert "x-weir-cost-usd" not in answer.headers
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("released", "upstream_refused", status)
    assert (entry["cost_nano"], entry["input_tokens"], entry["output_tokens"]) == (0, 0, 0)
    assert (entry["price_id"], entry["flags"]) == (None, [])
    [call] = weir.arrivals
    assert entry["upstream_request_id"] == call.id


async def test_an_error_body_comes_back_byte_for_byte(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    body = b'{"error" :{"message":"No.","new":[1, 2],"big":123456789012345678901234567890}}\n'
    canned.answers_json(body, status=418)
    async with canned_weir.http() as client:
        answer = await client.post("/v1/chat/completions", json=HELLO)
    assert (answer.status_code, answer.content) == (418, body)


@pytest.mark.parametrize("document", [{"error": "a string"}, {"error": {"code": 5}}, {"detail": "no error"}, {}])
async def test_an_error_of_another_shape_comes_back_too(
    canned_weir: RunningWeir, canned: CannedUpstream, document: dict[str, Any]
) -> None:
    canned.answers_json(document, status=400)
    async with canned_weir.http() as client:
        answer = await client.post("/v1/chat/completions", json=HELLO)
    assert (answer.status_code, answer.json()) == (400, document)
    [entry] = await canned_weir.entries()
    assert entry["ending"] == "released"


@PLAIN_AND_STREAMED
@pytest.mark.parametrize("script", ["status=401", "status=401;malformed=html"])
async def test_a_refused_credential_is_the_operators_business(weir: RunningWeir, script: str, stream: bool) -> None:
    async with weir.http() as client:
        answer = await client.post(
            "/v1/chat/completions", json={**HELLO, "stream": stream}, headers={"x-simulator": script}
        )
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_authentication_failed"
    assert answer.headers["x-should-retry"] == "false"
    assert "sk-" not in answer.text
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("released", "upstream_refused", 502)


async def test_a_wrong_credential_is_not_shown_even_in_part(start_weir: StartWeir) -> None:
    wrong = UPSTREAM_KEY.replace("upstream", "planted")
    weir = await start_weir({"openai_api_key": SecretStr(wrong)})
    async with weir.http() as client:
        answer = await client.post("/v1/chat/completions", json=HELLO)
        models = await client.get("/v1/models/gpt-4o-mini")
    for refused in (answer, models):
        assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_authentication_failed")
        assert wrong[:8] not in refused.text
        assert wrong[-4:] not in refused.text


@PLAIN_AND_STREAMED
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(
    canned_weir: RunningWeir, canned: CannedUpstream, status: int, stream: bool
) -> None:
    body = orjson.dumps({"error": {"message": "Moved."}})
    head = f"HTTP/1.1 {status} Moved\r\nlocation: /v1/elsewhere\r\ncontent-length: {len(body)}\r\n\r\n"
    canned.answers(head.encode() + body)
    async with canned_weir.http() as client:
        answer = await client.post("/v1/chat/completions", json={**HELLO, "stream": stream})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_invalid_response")
    assert "location" not in answer.headers
    assert len(canned.requests) == 1
    [entry] = await canned_weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"], entry["cost_nano"]) == (
        "released",
        "upstream_refused",
        502,
        0,
    )


@pytest.mark.parametrize("kind", ["nobody listens", "no such host", "no TLS"])
async def test_an_upstream_that_was_never_reached_has_no_row(
    weir: RunningWeir, start_weir: StartWeir, kind: str
) -> None:
    base_url = {
        "nobody listens": f"{NOBODY_LISTENS}/v1",
        "no such host": "http://no-such-host.invalid/v1",
        "no TLS": weir.settings.openai_base_url.replace("http://", "https://"),
    }[kind]
    host = base_url.split("/")[2].partition(":")[0]
    away = await start_weir({"openai_base_url": base_url})
    async with away.http() as client:
        for stream in (False, True):
            answer = await client.post("/v1/chat/completions", json={**HELLO, "stream": stream})
            assert answer.status_code == 502
            error = answer.json()["error"]
            assert (error["type"], error["code"]) == ("upstream_error", "upstream_unreachable")
            assert host not in answer.text
        receipt = await client.get(f"/v1/requests/{answer.headers['x-request-id']}")
    assert receipt.status_code == 404
    assert not await away.entries()
