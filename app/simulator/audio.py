"""POST /v1/audio/speech, /transcriptions and /translations: noise for words, and words for any sound.

A token of speech is 400 bytes; models with `whisper` in their name are billed by duration,
others by tokens. https://platform.openai.com/docs/api-reference/audio
"""

import base64
import hashlib
from typing import Any, Final

import orjson

from app.simulator.call import Ending
from app.simulator.chat_stream import is_broken_off
from app.simulator.delivery import EVENT_STREAM, JSON, Delivery
from app.simulator.exchange import Dropped
from app.simulator.fields import Document, read_text
from app.simulator.form import Form
from app.simulator.refusal import invalid_value
from app.simulator.sound import seconds_of
from app.simulator.text import count_tokens, fit_tokens, split_tokens

_TOKEN_BYTES: Final = 400
_HEARD_PER_SECOND: Final = 10
_SOUNDS: Final = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_TEXTS: Final = ("json", "text", "srt", "vtt", "verbose_json", "diarized_json")


async def answer_speech(delivery: Delivery, document: Document, model: str) -> Ending:
    """Answer with noise as long as the input takes to be said, whole or in events."""
    call, script = delivery.exchange.call, delivery.script
    text = read_text(document, "input")
    voice = document.get("voice")
    if isinstance(voice, dict):  # one of the account's own
        read_text(voice, "id", within="voice.")
    else:
        read_text(document, "voice")
    sound = document.get("response_format") or "mp3"
    if sound not in _SOUNDS:
        raise invalid_value("response_format", f"Invalid value: '{sound}'. Supported values are: {', '.join(_SOUNDS)}.")
    call.stream = document.get("stream_format") == "sse"
    tokens = script.output_tokens or max(1, len(text) * 3 // 2)
    if script.generates:
        call.characters = len(text)
        call.prompt_tokens = count_tokens(text) if script.prompt_tokens is None else script.prompt_tokens
    await delivery.wait_for_turn()
    if call.stream:
        await delivery.start(200, EVENT_STREAM)
        return await _send_speech_events(delivery, _noise(text + model, tokens), tokens)
    await delivery.start(200, _SOUNDS[sound])
    return await _send_noise(delivery, _noise(text + model, tokens), tokens)


async def _send_noise(delivery: Delivery, noise: bytes, tokens: int) -> Ending:
    call, script = delivery.exchange.call, delivery.script
    for count in range(1, tokens + 1):
        await delivery.exchange.pause(1 / script.tokens_per_second if script.tokens_per_second else 0)
        await delivery.exchange.write(noise[(count - 1) * _TOKEN_BYTES : count * _TOKEN_BYTES])
        call.completion_tokens += 1
        call.completion_tokens_sent += 1
        if script.hang == count:
            await delivery.exchange.hang()
        if count in (script.cut_after, script.error_after):  # there is no place for an error in a sound
            raise Dropped(Ending.CUT)
        if count == script.eof_after:
            break
    await delivery.exchange.finish()
    return Ending.FINISHED if call.completion_tokens == tokens else Ending.CUT


async def _send_speech_events(delivery: Delivery, noise: bytes, tokens: int) -> Ending:
    def piece(index: int) -> dict[str, Any]:
        sound = noise[index * _TOKEN_BYTES : (index + 1) * _TOKEN_BYTES]
        return {"type": "speech.audio.delta", "audio": base64.b64encode(sound).decode()}

    call = delivery.exchange.call
    done: dict[str, Any] = {"type": "speech.audio.done"}
    if not delivery.script.no_usage:
        total = call.prompt_tokens + tokens
        done["usage"] = {"input_tokens": call.prompt_tokens, "output_tokens": tokens, "total_tokens": total}
    return await _send_events(delivery, [piece(index) for index in range(tokens)], done)


async def answer_transcription(delivery: Delivery, form: Form, model: str) -> Ending:
    """Answer with a few words about the sound, in the format that is asked for."""
    call, script = delivery.exchange.call, delivery.script
    seconds = seconds_of(form.read_file("file"))
    text_format = form.find("response_format") or "json"
    if text_format not in _TEXTS:
        raise invalid_value("response_format", f"Invalid value: '{text_format}'. Supported: {', '.join(_TEXTS)}.")
    words = fit_tokens(split_tokens(f"I heard {seconds:g} seconds of sound."), script.output_tokens or 8)
    call.stream = form.find("stream") == "true" and "whisper" not in model
    if script.generates:
        call.audio_seconds = -int(-seconds // 1)
        if "whisper" not in model:
            call.prompt_tokens = _HEARD_PER_SECOND * call.audio_seconds + count_tokens(form.find("prompt") or "")
    await delivery.wait_for_turn()
    usage = None if script.no_usage or (call.path.endswith("/translations")) else _usage(delivery, model, len(words))
    if call.stream:
        await delivery.start(200, EVENT_STREAM)
        done = {"type": "transcript.text.done", "text": "".join(words), **({"usage": usage} if usage else {})}
        pieces = [{"type": "transcript.text.delta", "delta": word} for word in words]
        return await _send_events(delivery, pieces, done)
    call.completion_tokens = len(words) if "whisper" not in model else 0
    body, content_type = _written("".join(words), text_format, seconds, usage)
    return await delivery.send_body(body, content_type, completion_tokens=call.completion_tokens)


def _usage(delivery: Delivery, model: str, output_tokens: int) -> dict[str, Any]:
    call = delivery.exchange.call
    if "whisper" in model:
        return {"type": "duration", "seconds": call.audio_seconds}
    heard = _HEARD_PER_SECOND * call.audio_seconds
    return {
        "type": "tokens",
        "input_tokens": call.prompt_tokens,
        "input_token_details": {"text_tokens": call.prompt_tokens - heard, "audio_tokens": heard},
        "output_tokens": output_tokens,
        "total_tokens": call.prompt_tokens + output_tokens,
    }


def _written(text: str, text_format: str, seconds: float, usage: dict[str, Any] | None) -> tuple[bytes, str]:
    """Return the body, and its content type."""
    end = f"{int(seconds) // 3600:02}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"
    texts = {
        "text": f"{text}\n",
        "srt": f"1\n00:00:00,000 --> {end},000\n{text}\n\n",
        "vtt": f"WEBVTT\n\n00:00:00.000 --> {end}.000\n{text}\n\n",
    }
    if text_format in texts:
        return texts[text_format].encode(), "text/plain; charset=utf-8"
    document: dict[str, Any] = {"text": text}
    if text_format == "verbose_json":
        document = {"task": "transcribe", "language": "english", "duration": seconds, "text": text, "segments": []}
    elif text_format == "diarized_json":
        segment = {"type": "transcript.text.segment", "id": "seg_0", "start": 0, "end": seconds}
        segments = [{**segment, "text": text, "speaker": "A"}]
        document = {"task": "transcribe", "duration": seconds, "text": text, "segments": segments}
    return orjson.dumps({**document, **({"usage": usage} if usage else {})}), JSON


async def _send_events(delivery: Delivery, pieces: list[dict[str, Any]], done: dict[str, Any]) -> Ending:
    """Send one event for each of *pieces*, which stands for a token, up to where the script breaks it off."""
    exchange, script = delivery.exchange, delivery.script
    if await is_broken_off(exchange, script, 0):
        return Ending.CUT
    for count, piece in enumerate(pieces, start=1):
        await exchange.pause(1 / script.tokens_per_second if script.tokens_per_second else 0)
        frame = b"data: " + orjson.dumps(piece) + b"\n\n"
        exchange.call.completion_tokens += 1
        is_malformed = count == 1 and script.malformed == "json"
        await exchange.write(frame[: len(frame) // 2] + b"\n\n" if is_malformed else frame)
        exchange.call.completion_tokens_sent += 1
        if await is_broken_off(exchange, script, count):
            return Ending.CUT
    await exchange.write(b"data: " + orjson.dumps(done) + b"\n\n")
    await exchange.finish()
    return Ending.FINISHED


def _noise(seed: str, tokens: int) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(tokens * _TOKEN_BYTES)
