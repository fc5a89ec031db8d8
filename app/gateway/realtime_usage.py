"""What a realtime response says that it used, read with suspicion. Pure.

https://platform.openai.com/docs/api-reference/realtime-server-events/response/done
"""

from app.gateway.usage import detail, usage_of
from app.prices.usage import Usage


def realtime_usage(reported: object) -> Usage | None:
    """Return the `usage` of a response; None when it is missing or cannot be true."""
    if not isinstance(reported, dict):
        return None
    heard, spoken = reported.get("input_token_details"), reported.get("output_token_details")
    cached = detail(heard, "cached_tokens_details")
    counts = {
        "input_tokens": reported.get("input_tokens"),
        "cached_input_tokens": detail(heard, "cached_tokens"),
        "input_audio_tokens": detail(heard, "audio_tokens"),
        "cached_input_audio_tokens": detail(cached, "audio_tokens"),
        "input_image_tokens": detail(heard, "image_tokens"),
        "cached_input_image_tokens": detail(cached, "image_tokens"),
        "output_tokens": reported.get("output_tokens"),
        "output_audio_tokens": detail(spoken, "audio_tokens"),
    }
    return usage_of(counts)
