"""What an upstream says that making images has used, read with suspicion. Pure.

https://platform.openai.com/docs/api-reference/images/object (usage)
"""

from app.gateway.usage import detail, usage_of
from app.prices.usage import Usage


def image_usage(reported: object, images: int) -> Usage | None:
    """Return the `usage` of *images* images; None when it is missing, as it is of DALL-E, or cannot be true."""
    if not isinstance(reported, dict):
        return None
    seen, made = reported.get("input_tokens_details"), reported.get("output_tokens_details")
    output = reported.get("output_tokens")
    counts = {
        "input_tokens": reported.get("input_tokens"),
        "input_image_tokens": detail(seen, "image_tokens"),
        "cached_input_tokens": detail(seen, "cached_tokens"),
        "output_tokens": output,
        "output_image_tokens": detail(made, "image_tokens", output),
    }
    return usage_of(counts, Usage(images=images))
