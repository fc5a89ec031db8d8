"""Reads and writes the events of the realtime API that decide about costs. Pure.

Names of both its shapes are known: that of 2025 (`audio.input…`), and the beta's, which Azure speaks too.
https://platform.openai.com/docs/api-reference/realtime-client-events
"""

from collections.abc import Mapping
from typing import Any, Final

from app.errors import InvalidRequest

_MAXIMUM: Final = "max_output_tokens"
BETA_MAXIMUM: Final = "max_response_output_tokens"
MAXIMA: Final = frozenset({_MAXIMUM, BETA_MAXIMUM})
"""What the output of responses is bounded by."""
_PLACES: Final = frozenset({"session", "response"})
_TEXT: Final = frozenset(
    {
        "response.audio_transcript.delta",
        "response.function_call_arguments.delta",
        "response.output_audio_transcript.delta",
        "response.output_text.delta",
        "response.text.delta",
    }
)
_AUDIO: Final = frozenset({"response.audio.delta", "response.output_audio.delta"})

Event = Mapping[str, Any]


def pieces_of(event: Event) -> tuple[int, int]:
    """Return how much of an answer an event has: bytes of text, and characters of audio in base64."""
    kind, delta = event.get("type"), event.get("delta")
    if not isinstance(delta, str):
        return 0, 0
    return len(delta.encode()) if kind in _TEXT else 0, len(delta) if kind in _AUDIO else 0


def member(event: Event, name: str) -> Event:
    """Return an object in *event*, an empty one where it is none: an upstream may send anything."""
    value = event.get(name)
    return value if isinstance(value, dict) else {}


def maximum_of(event: Event) -> int | None:
    """Return the maximum that a `response.create` names, None without one."""
    response = event.get("response")
    return maximum_in(response) if isinstance(response, dict) else None


def wished_transcription(event: Event) -> str | None:
    """Return the model that a `session.update` wants to have things written down by, None without one."""
    session = event.get("session")
    return transcription_of(session) if isinstance(session, dict) else None


def session_update(output_tokens: int, event_id: str, *, is_beta: bool) -> dict[str, Any]:
    """Return the event that gives the responses of a session a maximum."""
    session = {BETA_MAXIMUM: output_tokens} if is_beta else {"type": "realtime", _MAXIMUM: output_tokens}
    return {"type": "session.update", "event_id": event_id, "session": session}


def with_maximum(event: dict[str, Any], output_tokens: int) -> dict[str, Any]:
    """Return a `response.create` that names a maximum, which is at most *output_tokens*."""
    response = event.get("response")
    named = response if isinstance(response, dict) else {}
    return clamped({**event, "response": {_MAXIMUM: output_tokens, **named}}, output_tokens)


def refuse_variants(event: Event) -> None:
    """Raise InvalidRequest for a maximum whose name is in another case: some servers would heed it."""
    for place in _PLACES:
        for name in member(event, place):
            if name not in MAXIMA and name.casefold() in MAXIMA:
                raise InvalidRequest(f"Unknown parameter: '{name}'. Names are lower case.", param=f"{place}.{name}")


def clamped(event: dict[str, Any], output_tokens: int) -> dict[str, Any]:
    """Return *event* with no maximum above *output_tokens* in its session or its response."""
    return {
        name: _clamped(value, output_tokens) if name in _PLACES and isinstance(value, dict) else value
        for name, value in event.items()
    }


def _clamped(place: dict[str, Any], output_tokens: int) -> dict[str, Any]:
    def within(value: object) -> int:
        return min(value, output_tokens) if type(value) is int and value > 0 else output_tokens

    return {name: within(value) if name in MAXIMA else value for name, value in place.items()}


def maximum_in(place: Event) -> int | None:
    """Return the maximum in a session or a response, None where it is not a number."""
    named = [place.get(name) for name in MAXIMA]
    return max((value for value in named if type(value) is int and value > 0), default=None)


def modalities_of(place: Event) -> object:
    """Return what a session or a response says of how it is answered."""
    return place.get("output_modalities", place.get("modalities"))


def input_settings(session: Event) -> Event:
    """Return where a session says what becomes of what it hears."""
    audio = session.get("audio")
    heard = audio.get("input") if isinstance(audio, dict) else None
    return heard if isinstance(heard, dict) else session


def transcription_of(session: Event) -> str | None:
    """Return the model by which a session has what it hears written down, None without one."""
    place = input_settings(session)
    transcription = place.get("transcription", place.get("input_audio_transcription"))
    model = transcription.get("model") if isinstance(transcription, dict) else None
    return model if isinstance(model, str) else None


def starts_responses(turn_detection: object) -> tuple[bool, bool]:
    """Return whether it begins responses, and whether it does so even when nothing is said."""
    if not isinstance(turn_detection, dict):
        return turn_detection is not None, False
    creates = turn_detection.get("create_response") is not False
    return creates, creates and turn_detection.get("idle_timeout_ms") is not None
