"""Bodies that Weir does not accept: refused in OpenAI's words, nothing of them echoed, sent or charged."""

import gzip
from typing import Any

import orjson
import pytest

from app.errors import InvalidJson, InvalidRequest
from app.gateway.body import read_object
from tests.fixtures.weir import RunningWeir
from tests.simulator.wire import Wire

SECRET = "planted-secret"
MESSAGES = [{"role": "user", "content": SECRET}]
GOOD = {"model": "sim-small", "messages": MESSAGES}


def body(**changes: Any) -> bytes:
    return orjson.dumps({**GOOD, **changes})


def without(name: str) -> bytes:
    return orjson.dumps({key: value for key, value in GOOD.items() if key != name})


BODIES: dict[str, tuple[bytes, str, str | None]] = {
    "empty": (b"", "invalid_json", None),
    "not JSON": (SECRET.encode(), "invalid_json", None),
    "a form": (b"model=sim-small&messages=planted-secret", "invalid_json", None),
    "an array": (orjson.dumps([GOOD]), "invalid_json", None),
    "a string": (orjson.dumps(SECRET), "invalid_json", None),
    "a number": (b"17", "invalid_json", None),
    "null": (b"null", "invalid_json", None),
    "truncated": (body()[:-3], "invalid_json", None),
    "two objects": (body() * 2, "invalid_json", None),
    "deeply nested": (b'{"model":"m","messages":' + b"[" * 60_000 + b"]" * 60_000 + b"}", "invalid_json", None),
    "NaN": (b'{"model":"m","messages":[],"seed":NaN,"x":"planted-secret"}', "invalid_json", None),
    "a NUL byte": (body().replace(b"planted", b"planted\0"), "invalid_json", None),
    "only NUL bytes": (b"\0" * 64, "invalid_json", None),
    "a lone surrogate": (body().replace(b"planted", b"planted\\ud800"), "invalid_json", None),
    "not UTF-8": (body().replace(b"planted", b"planted\xff"), "invalid_json", None),
    "a byte order mark": (b"\xef\xbb\xbf" + body(), "invalid_json", None),
    "no model": (without("model"), "missing_required_parameter", "model"),
    "an empty model": (body(model=""), "missing_required_parameter", "model"),
    "model is null": (body(model=None), "invalid_type", "model"),
    "model is a number": (body(model=4), "invalid_type", "model"),
    "model is a list": (body(model=[SECRET]), "invalid_type", "model"),
    "a model of 10 KB": (body(model=SECRET * 740), "invalid_value", "model"),
    "a model with a NUL": (body(model=f"{SECRET}\0"), "invalid_value", "model"),
    "a model with a line break": (body(model=f"{SECRET}\r\nx-evil: 1"), "invalid_value", "model"),
    "a model with an escape": (body(model=f"\x1b[31m{SECRET}"), "invalid_value", "model"),
    "no messages": (without("messages"), "missing_required_parameter", "messages"),
    "messages is null": (body(messages=None), "invalid_type", "messages"),
    "messages is a string": (body(messages=SECRET), "invalid_type", "messages"),
    "messages is an object": (body(messages={"content": SECRET}), "invalid_type", "messages"),
    "max_tokens is a string": (body(max_tokens=SECRET), "invalid_type", "max_tokens"),
    "max_tokens is a fraction": (body(max_tokens=1.5), "invalid_type", "max_tokens"),
    "max_completion_tokens is -1": (body(max_completion_tokens=-1), "integer_below_min_value", "max_completion_tokens"),
    "n is true": (body(n=True), "invalid_type", "n"),
    "n is negative": (body(n=-1), "integer_below_min_value", "n"),
    "n is 129": (body(n=129), "integer_above_max_value", "n"),
    "n is there twice": (body(n=1).replace(b'"n":1', b'"n":1,"n":9'), "invalid_value", "n"),
    "stream is a string": (body(stream="true"), "invalid_type", "stream"),
    "stream is a number": (body(stream=1), "invalid_type", "stream"),
    "stream_options is a list": (body(stream=True, stream_options=[SECRET]), "invalid_type", "stream_options"),
    "stream_options is true": (body(stream=True, stream_options=True), "invalid_type", "stream_options"),
    "stream_options is deeply nested": (
        b'{"model":"m","messages":[],"stream":true,"stream_options":' + b'{"x":' * 500 + b"1" + b"}" * 501,
        "invalid_value",
        "stream_options",
    ),
    "include_usage is a string": (
        body(stream=True, stream_options={"include_usage": SECRET}),
        "invalid_type",
        "stream_options.include_usage",
    ),
}


@pytest.mark.parametrize(("sent", "code", "param"), BODIES.values(), ids=BODIES)
async def test_a_bad_body_is_refused_without_an_echo_a_call_or_a_row(
    weir: RunningWeir, sent: bytes, code: str, param: str | None
) -> None:
    async with weir.http() as client:
        answer = await client.post(
            "/v1/chat/completions", content=sent, headers={"content-type": "application/json; charset=utf-8"}
        )

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
    await assert_refused_unheard(weir, answer.text)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/jsonp"},
        {"content-type": ""},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"content-type": "application/json", "content-encoding": "GZIP, identity"},
    ],
    ids=str,
)
async def test_a_body_that_does_not_say_it_is_plain_json_is_refused(weir: RunningWeir, headers: dict[str, str]) -> None:
    sent = gzip.compress(body()) if "content-encoding" in headers else body()
    async with weir.http() as client:
        answer = await client.post("/v1/chat/completions", content=sent, headers=headers)

    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"
    await assert_refused_unheard(weir, answer.text)


@pytest.mark.parametrize("content_type", ["application/json", "APPLICATION/JSON ;charset=utf-8", "application/x+json"])
async def test_json_by_any_of_its_names_is_read(weir: RunningWeir, content_type: str) -> None:
    headers = {"content-type": content_type, "content-encoding": "Identity"}
    async with weir.http() as client:
        answer = await client.post("/v1/chat/completions", content=body(), headers=headers)

    assert answer.status_code == 200


async def test_a_body_without_a_content_type_is_read_as_json(weir: RunningWeir) -> None:
    received = await Wire(weir.base_url).ask(body(), authorization=f"Bearer {weir.api_key}")
    assert received.status == 200


async def test_a_caller_who_leaves_in_the_middle_of_its_body_is_not_heard(weir: RunningWeir) -> None:
    wire = Wire(weir.base_url)
    connection = await wire.send(b"", "/healthz", method="GET", keep_alive=True)
    await connection.reader.readuntil(b"\r\n\r\n")
    connection.writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\nauthorization: Bearer "
        + weir.api_key.encode()
        + b"\r\ncontent-length: 9999\r\n\r\n"
        + body()
    )
    await connection.close()

    async with weir.openai() as client:  # whoever comes next is served
        await client.chat.completions.create(model="sim-small", messages=[{"role": "user", "content": "Hello."}])
    [call] = weir.arrivals
    assert call.ending == "finished"
    assert len(await weir.entries()) == 1


@pytest.mark.parametrize("sent", [b"{", b'{"a": planted-secret}', b'{"a": "planted-secret', b'["planted-secret"]'])
def test_the_refusal_says_where_the_fault_is_but_not_what_stands_there(sent: bytes) -> None:
    with pytest.raises(InvalidJson) as caught:
        read_object(sent, None, None)
    assert SECRET not in caught.value.message


@pytest.mark.parametrize(
    ("values", "fits", "said"),
    [
        (b"{}", 65_534, "more than 65,536 objects and arrays"),
        (b'["a"]', 65_534, "more than 65,536 objects and arrays"),
        (b"0", 1_048_577, "more than 1,048,576 values"),
        (b'"a"', 1_048_577, "more than 1,048,576 values"),
    ],
    ids=["objects", "arrays", "numbers", "strings"],
)
def test_a_body_of_very_many_values_is_refused_before_others_wait_for_it(values: bytes, fits: int, said: str) -> None:
    assert len(read_object(b'{"input":[%b]}' % b",".join([values] * fits), None, None)["input"]) == fits
    with pytest.raises(InvalidRequest, match=said):
        read_object(b'{"input":[%b]}' % b",".join([values] * (fits + 1)), None, None)


@pytest.mark.parametrize(
    "text", [b"{[,]}" * 300_000, b'\\"{[,\\\\' * 300_000, b"x" * 300_000], ids=["code", "escapes", "plain"]
)
def test_what_is_written_in_a_text_is_no_value(text: bytes) -> None:
    assert read_object(b'{"input":["%b"]}' % text, None, None)["input"]


@pytest.mark.parametrize("end", [b"", b"\\", b'"', b'"]' + b" " * 1_000_000])
def test_a_large_body_that_is_cut_off_is_looked_at_once(end: bytes) -> None:
    with pytest.raises(InvalidJson):  # by squares it takes hours
        read_object(b'{"input":["' + b"{[," * 2_000_000 + end, None, None)


async def assert_refused_unheard(weir: RunningWeir, answer: str) -> None:
    assert "planted" not in answer
    assert not weir.arrivals
    assert not await weir.entries()
