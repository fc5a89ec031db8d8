"""What a script breaks, seen at the socket; nothing of it may look like a bug in the server's log."""

import logging
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import orjson
import pytest
from openai import AsyncOpenAI

from app.simulator.app import Simulator, create_simulator
from app.simulator.server import serve_simulator
from tests.simulator.wire import ASK, Wire

STREAM: dict[str, Any] = {**ASK, "stream": True}
USER: Any = ASK["messages"]


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.WARNING):
        yield
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


@pytest.mark.parametrize("count", [0, 1, 5])
async def test_a_cut_stream_ends_without_the_last_chunk(wire: Wire, simulator: Simulator, count: int) -> None:
    received = await wire.ask(STREAM, x_simulator=f"cut_after={count}")
    assert received.status == 200
    assert not received.is_complete
    assert len(received.contents()) == count
    assert "[DONE]" not in received.events()
    (call,) = simulator.account.calls
    assert (call.ending, call.completion_tokens, call.completion_tokens_sent) == ("cut", count, count)


async def test_a_cut_stream_is_an_error_to_http_clients_and_to_the_sdk(client: AsyncOpenAI, base_url: str) -> None:
    async with httpx.AsyncClient(base_url=base_url) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post("chat/completions", json=STREAM, headers={"x-simulator": "cut_after=2"})
    stream = await client.chat.completions.create(model="sim;cut_after=2", messages=USER, stream=True)
    chunks = aiter(stream)
    texts = [(await anext(chunks)).choices[0].delta.content for _ in range(3)]
    with pytest.raises(openai.APIConnectionError):
        await anext(chunks)
    assert texts == ["", "You", " wrote"]


async def test_a_cut_is_a_cut_on_a_connection_that_was_kept_alive(base_url: str, simulator: Simulator) -> None:
    async with httpx.AsyncClient(base_url=base_url) as http:
        first = await http.post("chat/completions", json=ASK)
        assert first.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post("chat/completions", json=STREAM, headers={"x-simulator": "cut_after=2"})
        assert (await http.post("chat/completions", json=ASK)).json()["choices"] == first.json()["choices"]
    assert [call.ending for call in simulator.account.calls] == ["finished", "cut", "finished"]


async def test_a_cut_plain_answer_has_its_headers_and_half_of_its_body(wire: Wire, simulator: Simulator) -> None:
    received = await wire.ask(ASK, x_simulator="cut_after=3")
    assert received.status == 200
    assert len(received.body) == int(received.headers["content-length"]) // 2
    (call,) = simulator.account.calls
    assert (call.ending, call.bytes_sent) == ("cut", len(received.body))
    assert call.completion_tokens > call.completion_tokens_sent == 0


async def test_an_early_end_is_clean_but_has_no_done(wire: Wire, simulator: Simulator) -> None:
    received = await wire.ask(STREAM, x_simulator="eof_after=2")
    assert received.is_complete
    assert received.contents() == ["You", " wrote"]
    assert len(received.events()) == 3
    assert simulator.account.calls[0].ending == "cut"


async def test_an_error_event_ends_the_stream(client: AsyncOpenAI, wire: Wire, simulator: Simulator) -> None:
    received = await wire.ask(STREAM, x_simulator="error_after=2;error_code=server_is_overloaded")
    assert received.is_complete
    assert set(orjson.loads(received.events()[-1])["error"]) == {"message", "type", "param", "code"}
    stream = await client.chat.completions.create(model="sim;error_after=1;error_code=x", messages=USER, stream=True)
    with pytest.raises(openai.APIError) as error:
        _ = [chunk async for chunk in stream]
    assert error.value.code == "x"
    assert [(call.ending, call.completion_tokens_sent) for call in simulator.account.calls] == [("cut", 2), ("cut", 1)]


async def test_a_break_after_more_chunks_than_there_are_never_comes(wire: Wire, simulator: Simulator) -> None:
    received = await wire.ask(STREAM, x_simulator="output_tokens=3;cut_after=4;eof_after=4;error_after=4;hang=4")
    assert received.events()[-1] == "[DONE]"
    assert simulator.account.calls[0].ending == "finished"


async def test_a_break_after_the_last_chunk_leaves_the_finish_out(wire: Wire) -> None:
    received = await wire.ask(STREAM, x_simulator="output_tokens=3;eof_after=3")
    assert len(received.contents()) == 3
    assert orjson.loads(received.events()[-1])["choices"][0]["finish_reason"] is None


async def test_broken_json_is_a_whole_body_that_does_not_parse(wire: Wire, simulator: Simulator) -> None:
    plain = await wire.ask(ASK, x_simulator="malformed=json")
    assert (plain.status, plain.is_complete, plain.headers["content-type"]) == (200, True, "application/json")
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(plain.body)
    stream = await wire.ask(STREAM, x_simulator="malformed=json")
    assert stream.is_complete
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(stream.events()[1])
    assert stream.events()[-1] == "[DONE]"
    assert [call.ending for call in simulator.account.calls] == ["finished", "finished"]


@pytest.mark.parametrize("document", [ASK, STREAM])
async def test_a_web_page_takes_the_answers_place(wire: Wire, simulator: Simulator, document: dict[str, Any]) -> None:
    fine = await wire.ask(document, x_simulator="malformed=html")
    failed = await wire.ask(document, x_simulator="malformed=html;status=502")
    assert (fine.status, failed.status) == (200, 502)
    for received in (fine, failed):
        assert received.headers["content-type"].startswith("text/html")
        assert received.body.startswith(b"<!doctype html>")
    assert [call.ending for call in simulator.account.calls] == ["finished", "refused"]
    assert [call.completion_tokens for call in simulator.account.calls] == [0, 0]


@pytest.mark.parametrize("document", [ASK, STREAM])
async def test_an_error_says_that_it_is_a_success(wire: Wire, simulator: Simulator, document: dict[str, Any]) -> None:
    received = await wire.ask(document, x_simulator="status=200")
    assert (received.status, received.headers["content-type"]) == (200, "application/json")
    assert list(orjson.loads(received.body)) == ["error"]
    [call] = simulator.account.calls
    assert (call.ending, call.completion_tokens) == ("finished", 0)


async def test_usage_is_left_out(wire: Wire, simulator: Simulator) -> None:
    plain = await wire.ask(ASK, x_simulator="no_usage=1")
    stream = await wire.ask({**STREAM, "stream_options": {"include_usage": True}}, x_simulator="no_usage=1")
    assert "usage" not in orjson.loads(plain.body)
    assert not [event for event in stream.events() if '"usage"' in event]
    assert all(call.completion_tokens > 0 for call in simulator.account.calls)


async def test_the_content_type_and_other_headers_can_be_set(wire: Wire) -> None:
    received = await wire.ask(ASK, x_simulator="content_type=text/plain;header.x-request-id=mine;header.x-new=1")
    assert received.headers["content-type"] == "text/plain"
    assert received.headers["x-request-id"] == "mine"
    assert received.headers["x-new"] == "1"


async def test_a_paced_stream_with_latency_is_complete(wire: Wire, simulator: Simulator) -> None:
    received = await wire.ask(STREAM, x_simulator="latency_ms=5;tokens_per_second=1000;output_tokens=20")
    assert len(received.contents()) == 20
    assert received.events()[-1] == "[DONE]"
    (call,) = simulator.account.calls
    assert (call.ending, call.completion_tokens, call.completion_tokens_sent) == ("finished", 20, 20)


@pytest.mark.parametrize(
    ("document", "script"),
    [
        (ASK, "latency_ms=600000"),
        (STREAM, "latency_ms=600000"),
        (ASK, "hang=before"),
        (STREAM, "hang=before"),
        (ASK, "hang=0"),
    ],
)
async def test_a_client_that_leaves_while_it_waits_is_noticed(
    wire: Wire, simulator: Simulator, document: dict[str, Any], script: str
) -> None:
    connection = await wire.send(document, x_simulator=script)
    await simulator.account.wait_for_arrivals(1)
    await connection.close()
    (call,) = await simulator.account.wait_for_endings(1)
    assert call.ending == "client_left"
    assert call.prompt_tokens > 0
    assert call.completion_tokens_sent == 0


async def test_a_hang_in_the_middle_sends_what_came_before(wire: Wire, simulator: Simulator) -> None:
    connection = await wire.send(STREAM, x_simulator="hang=2")
    for _ in range(3):
        await connection.read_event()
    await connection.close()
    (call,) = await simulator.account.wait_for_endings(1)
    assert (call.ending, call.completion_tokens, call.completion_tokens_sent) == ("client_left", 2, 2)


async def test_a_client_that_leaves_a_stream_is_noticed_at_that_token(wire: Wire, simulator: Simulator) -> None:
    connection = await wire.send(STREAM, x_simulator="tokens_per_second=0.001;reasoning_tokens=9")
    await connection.read_event()
    await connection.close()
    (call,) = await simulator.account.wait_for_endings(1)
    assert (call.ending, call.completion_tokens, call.completion_tokens_sent) == ("client_left", 9, 0)


async def test_a_client_that_stops_reading_and_leaves_is_not_sent_the_rest(wire: Wire, simulator: Simulator) -> None:
    connection = await wire.send(STREAM, x_simulator="output_tokens=1000000")
    await connection.read_event()
    connection.writer.transport.abort()
    (call,) = await simulator.account.wait_for_endings(1)
    assert call.ending == "client_left"
    assert call.completion_tokens - 1 <= call.completion_tokens_sent < 1_000_000


async def test_a_client_that_leaves_in_the_middle_of_its_request_is_noticed(wire: Wire, simulator: Simulator) -> None:
    connection = await wire.send(ASK, keep_alive=True)
    connection.writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{")
    await simulator.account.wait_for_arrivals(2)
    await connection.close()
    calls = await simulator.account.wait_for_endings(2)
    assert [call.ending for call in calls] == ["finished", "client_left"]


async def test_a_hang_that_nobody_leaves_is_dropped_in_the_end() -> None:
    simulator = create_simulator()
    simulator.hang_seconds_max = 0.01
    async with serve_simulator(simulator) as base_url:
        before = await Wire(base_url).ask(ASK, x_simulator="hang=before")
        inside = await Wire(base_url).ask(STREAM, x_simulator="hang=1")
    assert before.status == 0
    assert (inside.status, inside.is_complete, inside.contents()) == (200, False, ["You"])
    assert [call.ending for call in simulator.account.calls] == ["hung", "hung"]
