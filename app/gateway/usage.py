"""What an upstream says that a call used, read with suspicion; and our own count where it says nothing."""

from collections.abc import Mapping
from typing import Any, Final

from app.prices.usage import NO_USAGE, Usage

TOKENS_MAX: Final = 10_000_000_000
"""More than any call can use; a larger number is not a count of anything."""
_BYTES_PER_TOKEN: Final = 4
_SPOKEN_CHARACTERS_PER_TOKEN: Final = 3_200
_MEDIA: Final = ("image_url", "input_audio", "file")
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
        "cached_input_tokens": detail(prompt, "cached_tokens"),
        "cache_write_tokens": detail(prompt, "cache_write_tokens"),
        "input_audio_tokens": detail(prompt, "audio_tokens"),
        "input_image_tokens": detail(prompt, "image_tokens"),
        "output_tokens": reported.get("completion_tokens"),
        "reasoning_tokens": detail(completion, "reasoning_tokens"),
        "output_audio_tokens": detail(completion, "audio_tokens"),
    }
    return usage_of(counts)


def prompt_usage(reported: object) -> Usage | None:
    """Return the usage that is *reported* of a call which may generate nothing, and then does not say so.

    Embeddings and completions are such.
    """
    return chat_usage({"completion_tokens": 0, **reported}) if isinstance(reported, dict) else None


def detail(details: object, name: str, default: object = 0) -> object:
    """Return the member *name* of an object that may be no object, *default* when there is none."""
    if not isinstance(details, dict):
        return default
    value = details.get(name)
    return default if value is None else value


def usage_of(reported: Mapping[str, Any], others: Usage = NO_USAGE) -> Usage | None:
    """Return the counts that were *reported* beside *others*; None when one is no count, or more than can be true."""
    for count in reported.values():
        if type(count) is not int or not 0 <= count <= TOKENS_MAX:
            return None
    return Usage(**reported) if others is NO_USAGE else others._replace(**reported)


def input_tokens(request: object) -> int:
    """Return about how many tokens the parts of a request are: one for four bytes of text, a flat count for media.

    Names of members are text too: they stand for what surrounds each message, and are sent as they are of tools.
    """
    tokens = 0
    values = [request]
    for value in values:  # not by recursion, as a body may be nested deeper than Python recurses
        if isinstance(value, str):
            tokens += -(-len(value.encode()) // _BYTES_PER_TOKEN)
        elif isinstance(value, dict):
            if value.get("type") in _MEDIA:
                tokens += _MEDIA_TOKENS
            else:
                values += value
                values += value.values()
        elif isinstance(value, list):
            values += value
    return tokens


def generated_tokens(message: object) -> int:
    """Return about how many tokens a chat message, or a stream's piece (`delta`) of one, has from the model."""
    if not isinstance(message, dict):
        return 0
    written = [message.get(name) for name in ("content", "refusal", "reasoning_content")]
    written.append(detail(message.get("audio"), "transcript"))
    for call in objects([*objects(message.get("tool_calls")), {"function": message.get("function_call")}]):
        written += [text for part in objects(list(call.values())) for text in part.values()]
    return sum(text_tokens(text.encode()) for text in written if isinstance(text, str)) + sound_tokens(message)


def sound_tokens(message: Mapping[str, Any]) -> int:
    """Return about how many tokens the sound in a chat message, or a piece of one, is."""
    sound = detail(message.get("audio"), "data")
    return spoken_tokens(len(sound)) if isinstance(sound, str) else 0


def spoken_tokens(characters: int) -> int:
    """Return about how many tokens audio is that a model has spoken, in base64 of 24 kHz PCM."""
    return -(-characters // _SPOKEN_CHARACTERS_PER_TOKEN)


def text_tokens(text: bytes) -> int:
    """Return about how many tokens *text* is, never 0 for text that is there."""
    return -(-len(text) // _BYTES_PER_TOKEN)


def objects(value: object) -> list[dict[str, Any]]:
    """Return the objects in *value*, none when it is no array: an upstream may send anything."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
