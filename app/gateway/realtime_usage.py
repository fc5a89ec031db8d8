"""What a realtime response says that it used, read with suspicion. Pure.

https://platform.openai.com/docs/api-reference/realtime-server-events/response/done
"""

from typing import Any

from app.gateway.usage import TOKENS_MAX
from app.prices.usage import Usage


def realtime_usage(reported: object) -> Usage | None:
    """Return the `usage` of a response; None when it is missing or cannot be true."""
    if not isinstance(reported, dict):
        return None
    heard, spoken = _object(reported, "input_token_details"), _object(reported, "output_token_details")
    cached = _object(heard, "cached_tokens_details")
    counts = {
        "input_tokens": reported.get("input_tokens"),
        "cached_input_tokens": _detail(heard, "cached_tokens"),
        "input_audio_tokens": _detail(heard, "audio_tokens"),
        "cached_input_audio_tokens": _detail(cached, "audio_tokens"),
        "input_image_tokens": _detail(heard, "image_tokens"),
        "cached_input_image_tokens": _detail(cached, "image_tokens"),
        "output_tokens": reported.get("output_tokens"),
        "output_audio_tokens": _detail(spoken, "audio_tokens"),
    }
    usage: dict[str, int] = {}
    for name, count in counts.items():
        if type(count) is not int or not 0 <= count <= TOKENS_MAX:
            return None
        usage[name] = count
    return Usage(**usage)


def _object(within: dict[str, Any], name: str) -> dict[str, Any]:
    value = within.get(name)
    return value if isinstance(value, dict) else {}


def _detail(details: dict[str, Any], name: str) -> object:
    value = details.get(name)
    return 0 if value is None else value
