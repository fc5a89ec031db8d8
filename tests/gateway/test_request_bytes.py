"""What goes upstream: the caller's bytes as they came, and of its headers only those that an upstream needs."""

from typing import Any

import httpx
import pytest

from tests.fixtures.weir import UPSTREAM_KEY, RunningWeir
from tests.simulator.wire import Wire

# Odd spaces, an unknown field, a name given twice, digits that no float has, escapes that decode to the same text.
ODD = (
    b' \t{ "model"\r\n:"gpt-4o-mini" ,"messages":[{"role":"user","content":"caf\\u00e9 \\ud83d\\ude00 \\/ caf\xc3\xa9"}'
    b'],"big":123456789012345678901234567890.10,"tiny":1.0e-30,"twice":1,"twice":2,"new_field":{"b":[ ],"a":{ } }%b} \n'
)


async def post(weir: RunningWeir, body: bytes, **headers: str) -> bytes:
    """Send *body* and return what the upstream got."""
    received = await Wire(weir.base_url).ask(body, authorization=f"Bearer {weir.api_key}", **headers)
    assert received.status == 200
    [call] = weir.arrivals
    assert call.arrival is not None
    assert call.arrival.body_size_bytes == len(call.arrival.body)
    return call.arrival.body


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b',"stream":false',
        b',"stream":null,"unknown":{"include_usage" : false}',
        b',"stream":true,"stream_options":{ "include_usage" : true, "x":1.10 }',
    ],
)
async def test_a_request_arrives_upstream_byte_for_byte(weir: RunningWeir, tail: bytes) -> None:
    sent = ODD.replace(b"%b", tail)
    assert await post(weir, sent) == sent


async def test_usage_is_asked_for_and_every_other_byte_of_a_streamed_request_stays(weir: RunningWeir) -> None:
    sent = ODD.replace(b"%b", b',"stream":true')
    expected = sent.replace(b"{", b'{"stream_options":{"include_usage":true},', 1)
    assert await post(weir, sent) == expected


@pytest.mark.parametrize(
    ("options", "spliced"),
    [
        (b"null", b'{"include_usage":true}'),
        (b"{ }", b'{"include_usage":true}'),
        (b'{"include_usage": false}', b'{"include_usage":true}'),
        (b'{"include_usage":null, "x":{"}":["]"]}}', b'{"include_usage":true,"x":{"}":["]"]}}'),
    ],
)
async def test_of_the_stream_options_only_their_own_bytes_are_replaced(
    weir: RunningWeir, options: bytes, spliced: bytes
) -> None:
    sent = ODD.replace(b"%b", b',"stream":true,"stream_options" : ' + options + b' ,"last":1E2')
    assert await post(weir, sent) == sent.replace(options + b' ,"last"', spliced + b' ,"last"')


async def test_a_body_of_megabytes_arrives_whole(weir: RunningWeir) -> None:
    sent = ODD.replace(b"%b", b',"padding":"' + b"x" * 3_000_000 + b'"')
    received = await Wire(weir.base_url).ask(sent, authorization=f"Bearer {weir.api_key}")
    assert received.status == 200
    [call] = weir.arrivals
    assert call.arrival is not None
    assert call.arrival.body_size_bytes == len(sent)


async def test_only_headers_that_an_upstream_needs_cross(weir: RunningWeir) -> None:
    crossing = {
        "accept": "application/json",
        "content-type": "application/json",
        "openai-beta": "assistants=v2",
        "user-agent": "OpenAI/Python 3.54.0 café",
        "x-client-request-id": "client-1",
        "x-stainless-lang": "python",
        "x-stainless-retry-count": "1",
    }
    staying: dict[str, Any] = {
        "accept-encoding": "gzip, br",
        "api-key": "planted",
        "cookie": "session=planted",
        "forwarded": "for=192.0.2.1",
        "idempotency-key": "once-only",
        "openai-organization": "org-planted",
        "openai-project": "proj_planted",
        "origin": "https://planted.example",
        "proxy-authorization": "Basic cGxhbnRlZA==",
        "referer": "https://planted.example/",
        "te": "trailers",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "via": "1.1 planted",
        "x-api-key": "planted",
        "x-forwarded-for": "192.0.2.1",
        "x-forwarded-host": "planted.example",
        "x-forwarded-proto": "https",
        "x-real-ip": "192.0.2.1",
        "x-request-id": "callers-own-id",
    }
    async with weir.http() as client:
        request = client.build_request("POST", "/v1/chat/completions", content=ODD.replace(b"%b", b""))
        kept = {name: request.headers[name] for name in ("host", "authorization", "content-length")}
        sent = {**kept, **crossing, **staying}
        request.headers = httpx.Headers([(name.encode(), value.encode()) for name, value in sent.items()])
        answer = await client.send(request)

    assert answer.status_code == 200
    [call] = weir.arrivals
    assert call.arrival is not None
    arrived = {name.decode(): value for name, value in call.arrival.raw_headers}
    for name, value in crossing.items():
        assert arrived.pop(name) == value.encode()
    assert arrived.pop("accept-encoding") == b"identity"
    assert arrived.pop("x-request-id") == b"callers-own-id"
    assert set(arrived) == {"host", "authorization", "content-length"}
    assert arrived["host"].decode() != kept["host"]
    # The simulator accepts no key but Weir's own for it.
    assert call.status == 200
    assert weir.api_key != UPSTREAM_KEY


async def test_a_header_that_is_no_utf_8_does_no_harm(weir: RunningWeir) -> None:
    await post(weir, ODD.replace(b"%b", b""), user_agent="caf\xe9")
    [call] = weir.arrivals
    assert call.headers["user-agent"].encode("latin-1").decode() == "caf\ufffd"
