"""Upstreams that answer, but not what their API promises."""

import gzip
from typing import Any

import pytest

from tests.fixtures.canned import CannedUpstream
from tests.fixtures.weir import RunningWeir, StartWeir

HELLO: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
INPUT_TOKENS = 7
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


async def assert_broken(weir: RunningWeir, code: str, script: str = "", *, stream: bool = False) -> None:
    """Call and expect a 502 with *code*, and a row that charges the input, which may have been billed."""
    async with weir.http() as client:
        headers = {"x-simulator": script} if script else {}
        answer = await client.post("/v1/chat/completions", json={**HELLO, "stream": stream}, headers=headers)
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("upstream_error", None, code)
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "upstream_broke", 502)
    assert (entry["input_tokens"], entry["output_tokens"], entry["cost_nano"]) == (INPUT_TOKENS, 0, INPUT_TOKENS * 150)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("script", ["malformed=html", "malformed=html;content_type=application/json"])
async def test_a_web_page_instead_of_an_answer(weir: RunningWeir, script: str, stream: bool) -> None:
    await assert_broken(weir, "upstream_invalid_response", script, stream=stream)


async def test_half_of_the_json(weir: RunningWeir) -> None:
    await assert_broken(weir, "upstream_invalid_response", "malformed=json")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"text"', b"null", b"17", b"{} {}", b"\xff\xfe", b"[" * 5_000, b"data: {}\n\n"]
)
async def test_a_body_that_is_no_json_object(canned_weir: RunningWeir, canned: CannedUpstream, body: bytes) -> None:
    canned.answers_json(body)
    await assert_broken(canned_weir, "upstream_invalid_response")


async def test_a_stream_under_a_wrong_content_type(weir: RunningWeir) -> None:
    await assert_broken(weir, "upstream_invalid_response", "content_type=text/plain", stream=True)


async def test_an_answer_that_is_cut(weir: RunningWeir) -> None:
    await assert_broken(weir, "upstream_unreachable", "cut_after=0")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-ty",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nx-large: " + b"x" * 40_000 + b"\r\n\r\n",
        JSON_HEAD + b"content-length: 10\r\ncontent-length: 20\r\n\r\n{}",
        JSON_HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ],
    ids=["nothing", "half a head", "no HTTP", "a giant header", "two lengths", "bad chunks"],
)
async def test_an_answer_that_is_no_http(canned_weir: RunningWeir, canned: CannedUpstream, answer: bytes) -> None:
    canned.answers(answer)
    await assert_broken(canned_weir, "upstream_unreachable")


async def test_an_answer_that_is_compressed_although_none_was_asked_for(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    canned.answers(JSON_HEAD + b"content-encoding: gzip\r\ncontent-length: 12\r\n\r\nnot-gzipped!")

    await assert_broken(canned_weir, "upstream_invalid_response")


@pytest.mark.parametrize("is_compressed", [False, True], ids=["plain", "compressed"])
async def test_an_answer_longer_than_is_allowed(
    canned: CannedUpstream, canned_weir: RunningWeir, start_weir: StartWeir, is_compressed: bool
) -> None:
    bounded = await start_weir(
        {"openai_base_url": canned_weir.settings.openai_base_url, "upstream.answer_size_bytes_max": 65_536}
    )
    body = b'{"usage":{},"choices":"' + b"x" * 5_000_000 + b'"}'
    encoding = b"content-encoding: gzip\r\n" if is_compressed else b""
    body = gzip.compress(body) if is_compressed else body
    canned.answers(JSON_HEAD + encoding + b"content-length: %d\r\n\r\n" % len(body), body)
    await assert_broken(bounded, "upstream_invalid_response" if is_compressed else "upstream_unreachable")


@pytest.mark.parametrize("status", [403, 404, 429, 500, 502, 503])
async def test_a_web_page_with_an_error_status_keeps_its_status_and_its_advice(weir: RunningWeir, status: int) -> None:
    script = f"status={status};malformed=html;header.retry-after=9;header.content-disposition=inline"
    async with weir.http() as client:
        answer = await client.post("/v1/chat/completions", json=HELLO, headers={"x-simulator": script})
    assert (answer.status_code, answer.headers["retry-after"]) == (status, "9")
    assert answer.headers.get_list("content-type") == ["application/json"]
    assert "content-disposition" not in answer.headers
    assert answer.json()["error"]["code"] == "upstream_invalid_response"
    assert "<html" not in answer.text
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("released", "upstream_refused", status)


@pytest.mark.parametrize(
    ("path", "request_body"),
    [
        ("chat/completions", {**HELLO, "temperature": 0}),
        ("chat/completions", {**HELLO, "stream": True}),
        ("embeddings", {"model": "text-embedding-3-small", "input": "Say hello."}),
        ("responses", {"model": "gpt-4o-mini", "input": "Say hello."}),
    ],
    ids=["chat", "streamed", "embeddings", "responses"],
)
async def test_an_error_that_says_it_is_a_success_comes_as_it_came_and_is_not_kept_for_others(
    canned_weir: RunningWeir, canned: CannedUpstream, path: str, request_body: dict[str, Any]
) -> None:
    body = b'{"error": {"message": "The provider has failed.", "code": 502}}'
    canned.answers_json(body)
    async with canned_weir.http() as client:
        for _ in range(2):
            answer = await client.post(f"/v1/{path}", json=request_body, headers={"x-weir-cache": "on"})
            assert (answer.status_code, answer.content) == (200, body)
    assert len(canned.requests) == 2
    for entry in await canned_weir.entries():
        assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "no_usage", 200)
        assert (entry["input_tokens"] > 0, entry["output_tokens"]) == (True, 0)
