"""Transcriptions and translations: forms with sound, answers in every format, charged by tokens or by the second."""

import asyncio
from typing import Any

import openai
import orjson
import pytest

from app.errors import InvalidRequest, InvalidType, MissingParameter, UnsupportedMediaType
from app.gateway.limit_demand import demand_of, used
from app.gateway.operations.operation import Answered, Whole
from app.gateway.operations.transcriptions import Transcriptions, Translations
from app.limits.amounts import Amounts
from app.prices.usage import Usage
from tests.fixtures.canned import event
from tests.fixtures.weir import RunningWeir
from tests.gateway.sounds import FORM, form, wav
from tests.gateway.test_budgeted import make_budget, window
from tests.simulator.wire import Wire

HEAR = Transcriptions()
WHISPER_SECOND_NANO = 100_000
"""$0.006 a minute."""


def read(sound: bytes | None = None, **fields: str) -> Any:
    return HEAR.read(form(wav(3) if sound is None else sound, **{"model": "whisper-1", **fields}), FORM)


def test_the_bound_of_a_wav_file_is_exact_in_seconds() -> None:
    request = read(wav(90))
    assert request.bound.units == Usage(audio_seconds=90)
    assert request.bound.hears
    assert request.bound.input_tokens == len(request.body)
    assert request.bound.output_tokens > 90 * 20
    assert (request.sound_seconds, request.sound_bytes) == (90, len(wav(90)))


def test_the_output_of_a_long_sound_is_no_more_than_any_model_hears_at_once() -> None:
    assert read(bytes(20_000_000)).bound.output_tokens < 40_000


@pytest.mark.parametrize(
    ("body", "headers", "error"),
    [
        (form(wav(1)), FORM, MissingParameter),
        (form(None, model="whisper-1"), FORM, MissingParameter),
        (form(None, model="whisper-1", file="text"), FORM, MissingParameter),
        (form(wav(1), model="whisper-1", stream="maybe"), FORM, InvalidType),
        (form(wav(1), model="whisper-1", Model="cheaper"), FORM, InvalidRequest),
        (b"{}", {"content-type": "application/json"}, UnsupportedMediaType),
        (b"nothing", FORM, InvalidRequest),
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes, headers: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        HEAR.read(body, headers)


def test_another_model_takes_the_place_of_the_one_in_the_form() -> None:
    request = read(language="en")
    assert HEAR.renamed(request, "other") == request.body.replace(b"whisper-1", b"other")


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"text":"a","usage":{"type":"duration","seconds":3}}', "application/json", Answered(Usage(audio_seconds=3))),
        (b'{"text":"a","duration":2.5}', "application/json; charset=utf-8", Answered(Usage(audio_seconds=3))),
        (b'{"text":"abcde"}', "application/json", Answered(None, output_tokens=2)),
        (b'{"new":"abcde"}', "application/json", Answered(None)),
        (b"abcde", "text/plain", Answered(None, output_tokens=2)),
        (b"WEBVTT\n", "", Answered(None, output_tokens=2)),
        (b'{"text":', "application/json", None),
        (b"<html>", "text/html; charset=utf-8", None),
    ],
)
def test_an_answer_says_what_it_used_or_not(body: bytes, content_type: str, expected: Answered | None) -> None:
    assert HEAR.answered(Whole(read(), body, content_type)) == expected


def test_the_last_event_of_a_stream_is_not_counted_twice() -> None:
    stream = HEAR.stream(read())
    stream.feed(event({"type": "transcript.text.delta", "delta": "abcd"}))
    stream.feed(event({"type": "transcript.text.done", "text": "abcd"}))
    assert (stream.relayed_tokens(), stream.is_done, stream.usage) == (1, True, None)
    broken = HEAR.stream(read())
    broken.feed(event({"type": "error", "message": "x"}))
    assert broken.has_error


def test_sound_counts_in_limits_by_the_second_and_by_its_bytes() -> None:
    request = read(wav(3))
    wanted = demand_of(HEAR, request, counts_tokens=False).known
    assert (wanted.audio_seconds, wanted.audio_bytes) == (3, len(wav(3)))
    assert demand_of(HEAR, request, counts_tokens=True).known.output_tokens == 15
    assert used(Usage(input_tokens=30), request) == Amounts(1, 30, audio_seconds=3, audio_bytes=len(wav(3)))
    assert used(Usage(audio_seconds=4), request).audio_seconds == 4
    assert used(Usage()).audio_seconds == 0


@pytest.mark.parametrize("response_format", ["json", "text", "srt", "vtt", "verbose_json"])
async def test_whisper_costs_the_seconds_of_the_sound_in_every_format(weir: RunningWeir, response_format: Any) -> None:
    async with weir.openai() as client:
        answer = await client.audio.transcriptions.create(
            model="whisper-1", file=("speech.wav", wav(7.5)), response_format=response_format
        )
    assert "7.5 seconds" in (answer if isinstance(answer, str) else answer.text)
    [call] = weir.arrivals
    [entry] = await weir.entries()
    is_told = response_format in ("json", "verbose_json")
    assert (entry["ending"], entry["operation"]) == ("settled" if is_told else "estimated", "audio.transcriptions")
    assert orjson.loads(entry["other_units"]) == {"audio_seconds": call.audio_seconds} == {"audio_seconds": 8}
    assert entry["cost_nano"] == entry["ceiling_nano"] == 8 * WHISPER_SECOND_NANO


@pytest.mark.parametrize("response_format", ["json", "diarized_json"])
async def test_a_model_that_is_billed_by_tokens_costs_those_that_it_reports(
    weir: RunningWeir, response_format: Any
) -> None:
    async with weir.openai() as client:
        await client.audio.transcriptions.create(
            model="gpt-4o-transcribe", file=wav(7.5), response_format=response_format, prompt="Rivers"
        )
    [call] = weir.arrivals
    [entry] = await weir.entries()
    assert (entry["ending"], entry["other_units"]) == ("settled", None)
    assert (entry["input_tokens"], entry["output_tokens"]) == (call.prompt_tokens, call.completion_tokens)
    assert entry["input_audio_tokens"] == 80
    text = entry["input_tokens"] - 80
    assert entry["cost_nano"] == 80 * 6_000 + text * 2_500 + entry["output_tokens"] * 10_000


async def test_a_streamed_transcription_costs_what_its_last_event_reports(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        stream = await client.audio.transcriptions.create(model="gpt-4o-transcribe", file=wav(2), stream=True)
        events = [event async for event in stream]
    assert [event.type for event in events] == ["transcript.text.delta"] * 8 + ["transcript.text.done"]
    [call] = weir.arrivals
    [entry] = await weir.entries()
    assert (entry["ending"], entry["streamed"]) == ("settled", True)
    assert (entry["input_tokens"], entry["output_tokens"]) == (call.prompt_tokens, call.completion_tokens)


async def hear(weir: RunningWeir, script: str, **fields: str) -> Any:
    return await Wire(weir.base_url).ask(
        form(wav(2), **{"model": "gpt-4o-transcribe", **fields}),
        "/v1/audio/transcriptions",
        authorization=f"Bearer {weir.api_key}",
        content_type=FORM["content-type"],
        x_simulator=script,
    )


@pytest.mark.parametrize("script", ["no_usage=1", "cut_after=3", "eof_after=3", "error_after=3"])
async def test_a_stream_that_says_nothing_is_charged_for_what_was_heard_and_written(
    weir: RunningWeir, script: str
) -> None:
    received = await hear(weir, script, stream="true")
    assert received.status == 200
    [entry] = await weir.entries()
    outcome = "no_usage" if script == "no_usage=1" else "upstream_broke"
    assert (entry["ending"], entry["outcome"]) == ("estimated", outcome)
    # As dear as $0.006 a minute, which is its other price.
    assert entry["cost_nano"] == 2 * WHISPER_SECOND_NANO or entry["input_audio_tokens"] == 20
    assert 0 < entry["cost_nano"] <= entry["ceiling_nano"]
    assert ("error" in received.events()[-1]) is (outcome == "upstream_broke")


@pytest.mark.parametrize(
    ("script", "status", "ending"),
    [("malformed=json", 502, "estimated"), ("malformed=html", 502, "estimated"), ("status=400", 400, "released")],
)
async def test_what_is_no_transcription_is_an_error(weir: RunningWeir, script: str, status: int, ending: str) -> None:
    received = await hear(weir, script)
    assert received.status == status
    assert orjson.loads(received.body)["error"]["message"]
    [entry] = await weir.entries()
    assert entry["ending"] == ending


async def test_a_translation_is_an_operation_of_its_own(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        with pytest.deprecated_call():  # the SDK says so of the endpoint
            answer = await client.audio.translations.create(model="whisper-1", file=wav(3))
    assert "3 seconds" in answer.text
    [entry] = await weir.entries()
    assert (entry["operation"], entry["cost_nano"]) == (Translations.name, 3 * WHISPER_SECOND_NANO)


async def test_a_form_goes_upstream_byte_for_byte(weir: RunningWeir) -> None:
    body = form(wav(1), model="whisper-1", **{"timestamp_granularities[]": "word", "new[a]": "1"})
    async with weir.http() as client:
        answer = await client.post("/v1/audio/transcriptions", content=body, headers=FORM)
    assert answer.status_code == 200
    [call] = weir.arrivals
    assert call.body == body
    assert call.headers["content-type"] == FORM["content-type"]


async def test_a_budget_for_three_sounds_lets_exactly_three_pass(weir: RunningWeir) -> None:
    await make_budget(weir, "0.0009")
    async with weir.openai() as client:
        create = client.audio.transcriptions.create
        calls = (create(model="whisper-1", file=("a.wav", wav(3))) for _ in range(10))
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(answer, openai.RateLimitError) for answer in answers) == 7
    assert await window(weir) == (900_000, 0)
