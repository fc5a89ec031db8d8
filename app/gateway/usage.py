"""What an upstream says that a call used, read with suspicion; and our own count where it says nothing."""

from collections.abc import Iterator
from typing import Any, Final

from app.prices.usage import Usage

_TOKENS_MAX: Final = 10_000_000_000
"""More than any call can use; a larger number is not a count of anything."""
_BYTES_PER_TOKEN: Final = 4
_MEDIA_TOKENS: Final = 1_000
"""Counted for an image, a sound or a file in a message: their size in bytes says nothing about their tokens."""


def chat_usage(reported: object) -> Usage | None:
    """Return the `usage` object of a chat completion as counts, None when it is missing or cannot be true.

    https://platform.openai.com/docs/api-reference/chat/object (usage)
    """
    if not isinstance(reported, dict):
        return None
    prompt = reported.get("prompt_tokens_details")
    completion = reported.get("completion_tokens_details")
    counts = {
        "input_tokens": reported.get("prompt_tokens"),
        "cached_input_tokens": _detail(prompt, "cached_tokens"),
        "cache_write_tokens": _detail(prompt, "cache_write_tokens"),
        "input_audio_tokens": _detail(prompt, "audio_tokens"),
        "input_image_tokens": _detail(prompt, "image_tokens"),
        "output_tokens": reported.get("completion_tokens"),
        "reasoning_tokens": _detail(completion, "reasoning_tokens"),
        "output_audio_tokens": _detail(completion, "audio_tokens"),
    }
    usage: dict[str, int] = {}
    for name, count in counts.items():
        if type(count) is not int or not 0 <= count <= _TOKENS_MAX:
            return None
        usage[name] = count
    return Usage(**usage)


def _detail(details: object, name: str) -> object:
    value = details.get(name) if isinstance(details, dict) else None
    return 0 if value is None else value


def estimate_input_tokens(messages: list[Any]) -> int:
    """Return about how many tokens *messages* are: one for every four bytes of text, and a flat count for media."""
    return sum(map(_estimate, messages))


def _estimate(value: object) -> int:
    if isinstance(value, str):
        return text_tokens(value)
    if isinstance(value, list):
        return sum(map(_estimate, value))
    if isinstance(value, dict):
        if value.get("type") in ("image_url", "input_audio", "file"):
            return _MEDIA_TOKENS
        return sum(_estimate(inner) for key, inner in value.items() if key not in ("type", "role"))
    return 0


def text_tokens(text: str) -> int:
    """Return about how many tokens *text* is, never 0 for text that is there."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)


def generated_texts(message: object) -> Iterator[str]:
    """Yield every text that the model wrote in a chat message, or in a stream's piece (`delta`) of one."""
    if not isinstance(message, dict):
        return
    for name in ("content", "refusal", "reasoning_content"):
        if isinstance(text := message.get(name), str):
            yield text
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield from (text for name in ("name", "arguments") if isinstance(text := function.get(name), str))
