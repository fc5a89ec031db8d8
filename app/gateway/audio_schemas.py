"""How speech, transcriptions and translations are described in the API; requests are never parsed with these.

The whole of each is OpenAI's: https://platform.openai.com/docs/api-reference/audio
"""

from typing import Any, Final

from app.gateway.schemas import ERRORS

_TEXT: Final = {"type": "string"}
_SPEECH_REQUEST: Final = {
    "type": "object",
    "required": ["model", "input", "voice"],
    "additionalProperties": True,
    "properties": {
        "model": {"type": "string", "minLength": 1, "maxLength": 256},
        "input": _TEXT,
        "voice": {},
        "instructions": {"type": ["string", "null"]},
        "response_format": {"type": ["string", "null"], "default": "mp3"},
        "stream_format": {"type": ["string", "null"], "default": "audio"},
    },
}
_SPEECH_EXAMPLE: Final = {"model": "sim-tts", "input": "The river rises.", "voice": "alloy"}
_SOUND_REQUEST: Final = {
    "type": "object",
    "required": ["file", "model"],
    "additionalProperties": True,
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "model": {"type": "string", "minLength": 1, "maxLength": 256},
        "prompt": _TEXT,
        "response_format": {"type": "string", "default": "json"},
    },
}
_SOUND_EXAMPLE: Final = {"model": "sim-whisper", "response_format": "json"}
_HEADERS: Final = {"x-request-id": {"schema": _TEXT, "description": "Names the receipt of the call."}}
_EVENTS: Final = {"text/event-stream": {"schema": _TEXT}}
_TRANSCRIPT: Final = {"text": "The river rises.", "usage": {"type": "duration", "seconds": 2}}


def _docs(request: dict[str, Any], description: str, content: dict[str, Any]) -> dict[str, Any]:
    answer = {"description": description, "headers": _HEADERS, "content": content}
    return {
        "responses": {200: answer, **ERRORS},
        "openapi_extra": {"requestBody": {"required": True, "content": request}},
    }


def _form(*, streams: bool) -> dict[str, Any]:
    content: dict[str, Any] = {
        "application/json": {"schema": {"type": "object"}, "example": _TRANSCRIPT},
        "text/plain": {"schema": _TEXT},
    }
    request = {"multipart/form-data": {"schema": _SOUND_REQUEST, "examples": {"plain": {"value": _SOUND_EXAMPLE}}}}
    return _docs(request, "What was said, in the format asked for.", content | (_EVENTS if streams else {}))


SPEECH_DOCS: Final = _docs(
    {"application/json": {"schema": _SPEECH_REQUEST, "examples": {"plain": {"value": _SPEECH_EXAMPLE}}}},
    "The sound, or its stream.",
    {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}, "example": "(sound)"}, **_EVENTS},
)
TRANSCRIPTIONS_DOCS: Final = _form(streams=True)
TRANSLATIONS_DOCS: Final = _form(streams=False)
