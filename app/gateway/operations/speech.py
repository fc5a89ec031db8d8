"""Speech: text in, sound out. Billed by characters, or by tokens that only its event streams report.

https://platform.openai.com/docs/api-reference/audio/createSpeech
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from app.gateway.audio_usage import speech_usage
from app.gateway.body import optional, read_model, read_object, refuse_ambiguous, required
from app.gateway.operations.operation import Answered, MeteredRequest, Unread, Whole
from app.gateway.references import references_of, refuse_repeated
from app.gateway.stream import EventStream
from app.gateway.usage import text_tokens
from app.prices.service import Bound
from app.prices.usage import Usage

_METERED: Final = frozenset({"input", "instructions", "model", "response_format", "stream_format", "voice"})
_TOKENS_PER_SECOND: Final = 21
"""Of sound: a minute of gpt-4o-mini-tts costs about $0.015, a million tokens $12."""
_TOKENS_PER_CHARACTER: Final = 2
_TOKENS_PER_CHARACTER_MAX: Final = 25
"""More than a second each: a character may be a digit, or a picture that has a name of three words."""
_FRAME_TOKENS: Final = 1_000
"""Pauses around a speech, and what the model is told."""
_BYTES_PER_SECOND: Final = {"pcm": 48_000, "wav": 48_000, "flac": 24_000}
_BYTES_PER_SECOND_COMPRESSED: Final = 8_000
"""64 kbit/s or more, so that what is estimated is rather too long."""


class Speech(Unread):
    """The operation `audio.speech`."""

    name = "audio.speech"
    path = "/audio/speech"

    def read(self, body: bytes, headers: Mapping[str, str]) -> MeteredRequest:
        """Return the request in *body*; raises a Refusal that says what is wrong with it and where."""
        document = read_object(body, headers.get("content-type"), headers.get("content-encoding"))
        model = read_model(document)
        text: str = required(document, "input", str)
        for name in ("instructions", "response_format", "stream_format"):
            optional(document, name, str)
        refuse_ambiguous(body, document, _METERED)
        if isinstance(document.get("voice"), dict):
            refuse_repeated(body)
        bound = Bound(
            input_tokens=len(body) + _FRAME_TOKENS,
            output_tokens=_TOKENS_PER_CHARACTER_MAX * len(text) + _FRAME_TOKENS,
            units=Usage(characters=len(text)),
            speaks=True,
        )
        return MeteredRequest(
            model,
            bound,
            body,
            input_tokens=text_tokens(text.encode()) + text_tokens((document.get("instructions") or "").encode()),
            streamed=document.get("stream_format") == "sse",
            output_tokens_expected=_TOKENS_PER_CHARACTER * len(text),
            references=references_of(document),
        )

    def answered(self, whole: Whole) -> Answered | None:  # noqa: ARG002
        """Return None: what is not relayed as sound is none."""
        return None

    def measured(self, request: MeteredRequest, size_bytes: int) -> Answered:
        """Return what a sound of *size_bytes* tells: the characters are known, its tokens can only be estimated."""
        tokens = _spoken_tokens(size_bytes, _bytes_per_second(request))
        return Answered(Usage(characters=request.bound.units.characters), output_tokens=tokens)

    def estimated(self, request: MeteredRequest) -> Usage:
        """Return its characters, and about how many tokens they are."""
        return Usage(characters=request.bound.units.characters, input_tokens=request.input_tokens)

    def stream(self, request: MeteredRequest) -> "SpeechStream":
        """Return what meters its stream of events with sound in them."""
        return SpeechStream(_bytes_per_second(request), request.bound.units.characters)


class SpeechStream(EventStream):
    """Events with sound in base64; the last one has the usage, but for the characters that were asked to be said."""

    NOTABLE = (re.compile(rb'"type"\s*:\s*"(?:speech\.audio\.done|error)"|"error"\s*:\s*[{"]'),)
    END = re.compile(rb'"type"\s*:\s*"speech\.audio\.done"')

    def __init__(self, bytes_per_second: int, characters: int) -> None:
        super().__init__()
        self._bytes_per_second = bytes_per_second
        self._characters = characters

    def learn(self, document: dict[str, Any]) -> bool:
        """Learn from the last event, or from an error."""
        usage = speech_usage(document.get("usage"))
        self.usage = self.usage if usage is None else usage._replace(characters=self._characters)
        self.has_error = self.has_error or bool(document.get("error")) or document.get("type") == "error"
        return True

    def tokens_of(self, document: dict[str, Any]) -> int:
        """Return about how many tokens the sound in an event is."""
        sound = document.get("audio")
        return _spoken_tokens(len(sound) * 3 // 4, self._bytes_per_second) if isinstance(sound, str) else 0


def _bytes_per_second(request: MeteredRequest) -> int:
    """Return about how many bytes a second of its sound has."""
    sound_format = orjson.loads(request.body).get("response_format") or "mp3"
    return _BYTES_PER_SECOND.get(sound_format, _BYTES_PER_SECOND_COMPRESSED)


def _spoken_tokens(size_bytes: int, bytes_per_second: int) -> int:
    return -(-size_bytes * _TOKENS_PER_SECOND // bytes_per_second)
