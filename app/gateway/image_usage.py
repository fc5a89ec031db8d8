"""What an upstream says that making images has used, read with suspicion. Pure.

https://platform.openai.com/docs/api-reference/images/object (usage)
"""

from typing import Any

from app.gateway.usage import TOKENS_MAX
from app.prices.usage import Usage


def image_usage(reported: object, images: int) -> Usage | None:
    """Return the `usage` of *images* images; None when it is missing, as it is of DALL-E, or cannot be true."""
    if not isinstance(reported, dict):
        return None
    seen, made = reported.get("input_tokens_details"), reported.get("output_tokens_details")
    output = reported.get("output_tokens")
    counts: dict[str, Any] = {
        "input_tokens": reported.get("input_tokens"),
        "input_image_tokens": _detail(seen, "image_tokens", 0),
        "cached_input_tokens": _detail(seen, "cached_tokens", 0),
        "output_tokens": output,
        "output_image_tokens": _detail(made, "image_tokens", output),
    }
    if not all(type(count) is int and 0 <= count <= TOKENS_MAX for count in counts.values()):
        return None
    return Usage(images=images, **counts)


def _detail(details: object, name: str, default: object) -> object:
    value = details.get(name) if isinstance(details, dict) else None
    return default if value is None else value
