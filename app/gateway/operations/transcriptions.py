"""Transcriptions and translations: sound in, text out, billed by tokens or by how long the sound is.

https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from app.errors import MissingParameter
from app.gateway.audio import length_of
from app.gateway.audio_usage import transcript_usage, whole_seconds
from app.gateway.body import json_object, read_model
from app.gateway.multipart import read_form
from app.gateway.operations.operation import Answered, MeteredRequest, Operation, Whole
from app.gateway.stream import EventStream
from app.gateway.usage import text_tokens
from app.prices.service import Bound
from app.prices.usage import Usage

_FIELDS: Final = {"model": str, "prompt": str, "response_format": str, "stream": bool}
_SECONDS_MAX: Final = 1_500
"""No model that is billed by tokens hears more at once."""
_HEARD_PER_SECOND: Final = 10
"""Tokens of sound."""
_WRITTEN_PER_SECOND: Final = 5
_WRITTEN_PER_SECOND_MAX: Final = 25
"""Five times as fast as anybody speaks."""
_FRAME_TOKENS: Final = 256


class Transcriptions(Operation):
    """The operation `audio.transcriptions`."""

    name = "audio.transcriptions"
    path = "/audio/transcriptions"

    def read(self, body: bytes, headers: Mapping[str, str]) -> MeteredRequest:
        """Return the request in *body*, a multipart form; raises a Refusal that says what is wrong and where."""
        form = read_form(body, headers.get("content-type"), headers.get("content-encoding"))
        fields = form.read(_FIELDS)
        model = read_model(fields)
        files = form.files("file")
        if not files:
            raise MissingParameter("file")
        whole = memoryview(body)
        lengths = [length_of(whole[file.start : file.end]) for file in files]
        seconds = sum(length.seconds for length in lengths)
        seconds_max = sum(length.seconds_max for length in lengths)
        return MeteredRequest(
            model=model,
            bound=Bound(
                input_tokens=len(body),
                output_tokens=_WRITTEN_PER_SECOND_MAX * min(seconds_max, _SECONDS_MAX) + _FRAME_TOKENS,
                units=Usage(audio_seconds=seconds_max),
                hears=True,
            ),
            body=body,
            streamed=fields.get("stream", False),
            form=form,
            sound_seconds=seconds,
            sound_bytes=sum(file.size_bytes for file in files),
            output_tokens_expected=_WRITTEN_PER_SECOND * seconds,
        )

    def answered(self, whole: Whole) -> Answered | None:
        """Return what a transcription says: in JSON, or in a text that says nothing of what it used."""
        content_type = whole.content_type.partition(";")[0].strip().lower()
        if content_type != "application/json":
            return None if content_type == "text/html" else Answered(None, output_tokens=text_tokens(whole.body))
        document = json_object(whole.body)
        if document is None:
            return None
        usage = transcript_usage(document.get("usage"))
        seconds = whole_seconds(document.get("duration"))
        if usage is None and seconds is not None:
            usage = Usage(audio_seconds=seconds)
        return Answered(usage, output_tokens=0 if usage else _text_tokens(document.get("text")))

    def estimated(self, request: MeteredRequest) -> Usage:
        """Return about how long its sound is, and how many tokens that is: it is billed by one of the two."""
        heard = _HEARD_PER_SECOND * request.sound_seconds
        return Usage(input_tokens=heard, input_audio_tokens=heard, audio_seconds=request.sound_seconds)

    def stream(self, request: MeteredRequest) -> "TranscriptStream":  # noqa: ARG002
        """Return what meters its stream of pieces of text."""
        return TranscriptStream()


class Translations(Transcriptions):
    """The operation `audio.translations`: what is written down is English, whatever was spoken."""

    name = "audio.translations"
    path = "/audio/translations"


class TranscriptStream(EventStream):
    """Events with pieces of text; the last one has all of it, and the usage."""

    NOTABLE = (re.compile(rb'"type"\s*:\s*"(?:transcript\.text\.done|error)"|"error"\s*:\s*[{"]'),)
    END = re.compile(rb'"type"\s*:\s*"transcript\.text\.done"')

    def learn(self, document: dict[str, Any]) -> bool:
        """Learn from the last event, or from an error."""
        self.usage = transcript_usage(document.get("usage")) or self.usage
        self.has_error = self.has_error or bool(document.get("error")) or document.get("type") == "error"
        return True

    def tokens_of(self, document: dict[str, Any]) -> int:
        """Return about how many tokens the text of an event is; the last one only repeats the others."""
        return _text_tokens(document.get("delta"))


def _text_tokens(text: object) -> int:
    return text_tokens(text.encode()) if isinstance(text, str) else 0
