"""What an upstream says that it heard or spoke, read with suspicion. Pure.

https://platform.openai.com/docs/api-reference/audio/json-object (usage)
"""

import math
from typing import Final

from app.gateway.usage import TOKENS_MAX
from app.prices.usage import Usage

_SECONDS_MAX: Final = 100_000_000
"""Three years: nobody sends more in one call."""


def transcript_usage(reported: object) -> Usage | None:
    """Return the `usage` of a transcription, by tokens or by duration; None when it is missing or cannot be true."""
    if not isinstance(reported, dict):
        return None
    if reported.get("type") == "duration":
        seconds = whole_seconds(reported.get("seconds"))
        return None if seconds is None else Usage(audio_seconds=seconds)
    details = reported.get("input_token_details")
    heard = _count(details.get("audio_tokens") or 0) if isinstance(details, dict) else 0
    read, written = _count(reported.get("input_tokens")), _count(reported.get("output_tokens"))
    if heard is None or read is None or written is None:
        return None
    return Usage(input_tokens=read, input_audio_tokens=heard, output_tokens=written)


def speech_usage(reported: object) -> Usage | None:
    """Return the `usage` of a speech; None when it is missing or cannot be true. All that comes out is sound."""
    if not isinstance(reported, dict):
        return None
    read, spoken = _count(reported.get("input_tokens")), _count(reported.get("output_tokens"))
    if read is None or spoken is None:
        return None
    return Usage(input_tokens=read, output_tokens=spoken, output_audio_tokens=spoken)


def whole_seconds(duration: object) -> int | None:
    """Return a duration in started seconds, None for what is none."""
    if isinstance(duration, bool) or not isinstance(duration, (int, float)) or not 0 <= duration <= _SECONDS_MAX:
        return None
    return math.ceil(duration)


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= TOKENS_MAX else None
