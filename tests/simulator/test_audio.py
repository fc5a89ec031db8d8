"""The simulator's audio: sound of a known length, words about any sound, and the account of both."""

import io
import wave
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from app.simulator.app import Simulator
from tests.simulator.wire import Wire

SAY: dict[str, Any] = {"model": "sim-tts", "input": "The river rises.", "voice": "alloy"}


def wav(seconds: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(1_000)
        sound.writeframes(bytes(seconds * 1_000))
    return file.getvalue()


async def test_the_same_text_is_said_alike_and_counted(client: AsyncOpenAI, simulator: Simulator) -> None:
    first, second = [await client.audio.speech.create(**SAY, response_format="wav") for _ in range(2)]
    assert first.content == second.content
    assert first.response.headers["content-type"] == "audio/wav"
    call = simulator.account.calls[0]
    assert (call.characters, call.prompt_tokens, call.completion_tokens) == (16, 4, 24)
    assert len(first.content) == 24 * 400


@pytest.mark.parametrize("changes", [{"input": None}, {"voice": 5}, {"voice": {}}, {"response_format": "gif"}])
async def test_a_speech_that_cannot_be_is_refused(client: AsyncOpenAI, changes: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        await client.audio.speech.create(**{**SAY, **changes})


@pytest.mark.parametrize(("script", "tokens"), [("cut_after=2", 2), ("error_after=2", 2), ("eof_after=2", 2)])
async def test_sound_breaks_off_where_the_script_says(
    wire: Wire, simulator: Simulator, script: str, tokens: int
) -> None:
    received = await wire.ask(SAY, "/v1/audio/speech", x_simulator=script)
    assert received.is_complete is (script == "eof_after=2")
    [call] = await simulator.account.wait_for_endings(1)
    assert (call.ending, call.completion_tokens) == ("cut", tokens)


@pytest.mark.parametrize("script", ["cut_after=0", "eof_after=0", "eof_after=2", "malformed=json", "hang=1"])
async def test_a_stream_of_sound_breaks_off_too(wire: Wire, simulator: Simulator, script: str) -> None:
    simulator.hang_seconds_max = 0.01
    try:
        received = await wire.ask({**SAY, "stream_format": "sse"}, "/v1/audio/speech", x_simulator=script)
    finally:
        simulator.hang_seconds_max = 600.0
    has_ended = any("speech.audio.done" in event for event in received.events())
    assert has_ended is (script == "malformed=json")


async def test_sound_may_hang(wire: Wire, simulator: Simulator) -> None:
    simulator.hang_seconds_max = 0.01
    try:
        received = await wire.ask(SAY, "/v1/audio/speech", x_simulator="hang=1")
    finally:
        simulator.hang_seconds_max = 600.0
    assert not received.is_complete
    [call] = await simulator.account.wait_for_endings(1)
    assert call.ending == "hung"


@pytest.mark.parametrize("model", ["sim-whisper", "sim-transcribe"])
async def test_sound_is_written_down_and_counted_by_its_length_or_by_tokens(
    client: AsyncOpenAI, simulator: Simulator, model: str
) -> None:
    answer: Any = await client.audio.transcriptions.create(model=model, file=("a.wav", wav(3)), prompt="A river")
    assert answer.text == "I heard 3 seconds of sound." + " The"
    [call] = simulator.account.calls
    if model == "sim-whisper":
        assert answer.usage.to_dict() == {"type": "duration", "seconds": 3}
        assert (call.audio_seconds, call.prompt_tokens) == (3, 0)
    else:
        assert answer.usage.input_token_details.to_dict() == {"text_tokens": 2, "audio_tokens": 30}
        assert (call.audio_seconds, call.prompt_tokens, call.completion_tokens) == (3, 32, 8)


async def test_what_is_no_wav_file_is_as_long_as_at_a_usual_rate(client: AsyncOpenAI) -> None:
    answer: Any = await client.audio.transcriptions.create(
        model="sim-whisper", file=("a.mp3", bytes(24_000)), response_format="verbose_json"
    )
    assert answer.duration == 1.5


async def test_an_unknown_format_is_refused(client: AsyncOpenAI) -> None:
    create: Any = client.audio.transcriptions.create
    with pytest.raises(openai.BadRequestError):
        await create(model="sim-whisper", file=wav(1), response_format="pdf")
