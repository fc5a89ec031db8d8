"""Speech: sound that is relayed as it comes, and charged by its characters or its tokens."""

import asyncio
from typing import Any

import openai
import orjson
import pytest

from app.errors import InvalidRequest, InvalidType, MissingParameter
from app.gateway.operations.operation import Whole
from app.gateway.operations.speech import Speech
from app.prices.usage import Usage
from tests.fixtures.canned import CannedUpstream, event
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir
from tests.gateway.test_budgeted import make_budget, window
from tests.simulator.wire import Received, Wire

SAY: dict[str, Any] = {"model": "tts-1", "input": "The river rises.", "voice": "alloy"}
SAY_BY_TOKENS: dict[str, Any] = {**SAY, "model": "gpt-4o-mini-tts", "stream_format": "sse"}
CHARACTERS = 16
TTS_1_NANO = 15_000
"""For one character."""
SPEECH = Speech()


def read(**changes: Any) -> Any:
    return SPEECH.read(orjson.dumps({**SAY, **changes}), {})


def test_the_bound_has_every_character_and_more_tokens_than_it_can_take_to_say_them() -> None:
    bound = read(input="A" * 4_096).bound
    assert bound.units == Usage(characters=4_096)
    assert bound.speaks
    assert bound.output_tokens > 4_096 * 20
    assert bound.input_tokens > 4_096


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"input": 5}, InvalidType),
        ({"input": None}, InvalidType),
        ({"instructions": []}, InvalidType),
        ({"response_format": 1}, InvalidType),
        ({"stream_format": True}, InvalidType),
        ({"model": ""}, MissingParameter),
        ({"INPUT": "longer"}, InvalidRequest),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        read(**changes)


def test_new_formats_and_voices_pass() -> None:
    request = read(voice={"id": "voice_123"}, response_format="new", speed=2, anything=[1])
    assert not request.streamed
    assert request.references == ("voice_123",)
    assert SPEECH.measured(request, 8_000).output_tokens == 21
    assert SPEECH.measured(read(response_format="pcm"), 48_000).output_tokens == 21


def test_a_document_in_the_place_of_sound_is_no_answer() -> None:
    assert SPEECH.answered(Whole(read(), b"{}", "application/json")) is None


def test_what_is_left_of_a_stream_is_counted_by_the_sound_in_it() -> None:
    stream = SPEECH.stream(read())
    stream.feed(event({"type": "speech.audio.delta", "audio": "A" * 32_000}) + event({"type": "new"}))
    assert stream.relayed_tokens() == 24_000 * 21 // 8_000
    assert not stream.is_done


def test_an_error_in_a_stream_is_noticed_whatever_its_form() -> None:
    for error in ({"error": {"message": "x"}}, {"type": "error", "message": "x"}):
        stream = SPEECH.stream(read())
        stream.feed(event(error))
        assert stream.has_error


async def test_sound_arrives_as_it_was_sent_and_costs_its_characters(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        answer = await client.audio.speech.with_raw_response.create(**SAY, extra_body={"speed": 1.5})
    [call] = weir.arrivals
    assert len(answer.content) == call.bytes_sent > 0
    assert answer.headers["content-type"] == "audio/mpeg"
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["flags"]) == ("settled", "completed", [])
    assert orjson.loads(entry["other_units"]) == {"characters": call.characters} == {"characters": CHARACTERS}
    assert entry["cost_nano"] == CHARACTERS * TTS_1_NANO
    assert orjson.loads(call.body)["speed"] == 1.5


async def test_a_stream_of_sound_costs_the_tokens_that_it_reports(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        create = client.audio.speech.with_streaming_response.create
        async with create(**SAY_BY_TOKENS) as answer:
            text = "".join([text async for text in answer.iter_text()])
    assert text.count("speech.audio.delta") == 24
    assert '"type":"speech.audio.done"' in text
    [call] = weir.arrivals
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["streamed"]) == ("settled", "completed", True)
    assert (entry["input_tokens"], entry["output_tokens"]) == (call.prompt_tokens, call.completion_tokens)
    assert entry["output_audio_tokens"] == entry["output_tokens"]
    assert entry["cost_nano"] == entry["input_tokens"] * 600 + entry["output_tokens"] * 12_000


async def test_sound_that_is_billed_by_tokens_and_reports_none_is_an_estimate(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        answer = await client.audio.speech.create(**{**SAY, "model": "gpt-4o-mini-tts"})
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"]) == ("estimated", "no_usage")
    assert entry["output_tokens"] == -(-len(answer.content) * 21 // 8_000)
    assert 0 < entry["cost_nano"] <= entry["ceiling_nano"]


async def test_a_stream_without_usage_is_an_estimate(weir: RunningWeir) -> None:
    received = await Wire(weir.base_url).ask(
        SAY_BY_TOKENS, "/v1/audio/speech", authorization=f"Bearer {weir.api_key}", x_simulator="no_usage=1"
    )
    assert received.is_complete
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["output_tokens"] > 0) == ("estimated", "no_usage", True)


async def say(weir: RunningWeir, document: dict[str, Any], script: str) -> Received:
    authorization = f"Bearer {weir.api_key}"
    return await Wire(weir.base_url).ask(document, "/v1/audio/speech", authorization=authorization, x_simulator=script)


@pytest.mark.parametrize("script", ["cut_after=3", "error_after=3"])
async def test_sound_that_breaks_off_is_cut_so_that_nobody_takes_it_for_whole(weir: RunningWeir, script: str) -> None:
    received = await say(weir, SAY, script)
    assert received.status == 200
    assert not received.is_complete
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "upstream_broke", 200)
    assert entry["cost_nano"] == CHARACTERS * TTS_1_NANO


async def test_a_stream_of_sound_that_breaks_off_ends_in_an_error(weir: RunningWeir) -> None:
    received = await say(weir, SAY_BY_TOKENS, "cut_after=3")
    assert orjson.loads(received.events()[-1])["error"]["code"] == "upstream_unreachable"
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"]) == ("estimated", "upstream_broke")
    assert entry["output_tokens"] == 3 * 2  # rounded up for each piece


@pytest.mark.parametrize("document", [SAY, SAY_BY_TOKENS])
async def test_a_caller_who_leaves_pays_for_what_was_said(weir: RunningWeir, document: dict[str, Any]) -> None:
    connection = await Wire(weir.base_url).send(
        document,
        "/v1/audio/speech",
        authorization=f"Bearer {weir.api_key}",
        x_simulator="tokens_per_second=20;output_tokens=2000",
    )
    async with asyncio.timeout(20):
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.reader.readexactly(200)
    await connection.close()
    await until(lambda: weir.simulator.account.ended_count == 1)
    await until(lambda: _is_settled(weir))
    [call] = weir.arrivals
    assert call.ending == "client_left"
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"]) == ("estimated", "client_left")


async def _is_settled(weir: RunningWeir) -> bool:
    return len(await weir.entries()) == 1


@pytest.mark.parametrize(("script", "code"), [("malformed=html", "upstream_invalid_response"), ("status=400", None)])
async def test_what_is_no_sound_is_an_error(weir: RunningWeir, script: str, code: str | None) -> None:
    async with weir.openai() as client:
        with pytest.raises(openai.APIStatusError) as raised:
            await client.audio.speech.create(**SAY, extra_headers={"x-simulator": script})
    assert raised.value.code == (code or "invalid_value")


async def test_an_answer_that_breaks_before_its_first_byte_is_a_json_error(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    canned.answers(b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 10\r\n\r\n")
    async with canned_weir.http() as client:
        answer = await client.post("/v1/audio/speech", json=SAY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unreachable")


async def test_the_length_of_a_sound_is_passed_on(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    canned.answers(b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 5\r\n\r\n", b"hello")
    async with canned_weir.http() as client:
        answer = await client.post("/v1/audio/speech", json=SAY)
    assert (answer.content, answer.headers["content-length"]) == (b"hello", "5")


async def test_a_budget_for_three_speeches_lets_exactly_three_pass(weir: RunningWeir) -> None:
    cost_usd = f"{3 * CHARACTERS * TTS_1_NANO / 1e9:.9f}"
    await make_budget(weir, cost_usd)
    async with weir.openai() as client:
        answers = await asyncio.gather(*(client.audio.speech.create(**SAY) for _ in range(10)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, openai.RateLimitError)]
    assert len(refused) == 7
    assert await window(weir) == (3 * CHARACTERS * TTS_1_NANO, 0)
