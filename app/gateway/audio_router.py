"""The doors of speech, transcriptions and translations: each is a metered call like that of chat."""

from typing import Final

from fastapi import APIRouter, Request, Response

from app.deps import shows_key_in_docs
from app.gateway.audio_schemas import SPEECH_DOCS, TRANSCRIPTIONS_DOCS, TRANSLATIONS_DOCS
from app.gateway.operations.speech import Speech
from app.gateway.operations.transcriptions import Transcriptions, Translations
from app.gateway.router import MeteredCall, MeteredRoute

router = APIRouter(route_class=MeteredRoute, tags=["Audio"], dependencies=[shows_key_in_docs])
_SPEECH: Final = MeteredCall(Speech())
_TRANSCRIPTIONS: Final = MeteredCall(Transcriptions())
_TRANSLATIONS: Final = MeteredCall(Translations())


class Sound(Response):
    """Says in the API description that a speech is no JSON."""

    media_type = "application/octet-stream"


@router.post("/audio/speech", summary="Turn text into sound", response_class=Sound, **SPEECH_DOCS)
async def create_speech(_: Request) -> Response:
    """Answer with the sound as it comes, or with `"stream_format": "sse"` in server-sent events."""
    return _SPEECH


@router.post("/audio/transcriptions", summary="Write down what is said", **TRANSCRIPTIONS_DOCS)
async def create_transcription(_: Request) -> Response:
    """Answer in the `response_format` of the form, or with `stream=true` in server-sent events."""
    return _TRANSCRIPTIONS


@router.post("/audio/translations", summary="Write down in English what is said", **TRANSLATIONS_DOCS)
async def create_translation(_: Request) -> Response:
    """Answer in the `response_format` of the form."""
    return _TRANSLATIONS
