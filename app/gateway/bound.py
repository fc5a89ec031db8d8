"""The most that a chat completion can use, read from its request alone. Pure; in doubt it is more, never less.

https://platform.openai.com/docs/api-reference/chat/create
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.gateway.usage import objects
from app.prices.service import Bound
from app.prices.usage import NO_USAGE, Usage

IMAGE_TOKENS_MAX: Final = 50_000
"""Above what any model takes an image for, whatever its size: gpt-4o-mini counts up to 2,833 and 8 times 5,667."""
_FRAME_TOKENS: Final = 64
"""What a model is told around a conversation."""
_TOOLS_TOKENS: Final = 256
"""What it is told around its tools."""
_MESSAGE_TOKENS: Final = 8
_STRING_TOKENS: Final = 4
"""Lost or gained where a text is counted apart from what surrounds it."""
_SCALAR_TOKENS: Final = 24
"""More than a number has digits, each of which may be a token."""
_ALLOWED_IN_PARTS: Final = frozenset({"type", "prompt_cache_breakpoint", "cache_control"})
_MEDIA: Final = frozenset({"image_url", "input_audio"})
CACHE_TTL_DEFAULT: Final = "30m"


@dataclass(slots=True)
class _Media:
    """What the messages hold apart from text."""

    images: int = 0
    inlined_bytes: int = 0
    """Of images that are in the request itself: they are no text."""
    heard_bytes: int = 0
    """Of audio: none has more tokens than bytes."""
    hears: bool = False
    is_unknown: bool = False
    """Something is only named, like a file, or of a kind that was not there when this was written."""


def chat_bound(document: Mapping[str, Any], body: bytes) -> Bound:
    """Return the most that the request *document*, whose bytes are *body*, can use.

    Text is at most a token for each of its bytes. Maxima and `n` are positive whole numbers, absent, or None.
    """
    media = _media(document["messages"])
    choices: int = document.get("n") or 1
    searches = _may_search(document)
    cache = document.get("prompt_cache_options")
    return Bound(
        input_tokens=len(body) - media.inlined_bytes + IMAGE_TOKENS_MAX * media.images + _frame(document),
        output_tokens=max(document.get("max_completion_tokens") or 0, document.get("max_tokens") or 0) or None,
        choices=choices,
        predicted_tokens=_predicted(document.get("prediction"), body),
        units=Usage(web_searches=choices) if searches else NO_USAGE,
        fills_context=searches or media.is_unknown,
        hears=media.hears,
        sees=media.images > 0 or media.is_unknown,
        speaks=document.get("audio") is not None or "audio" in _list(document.get("modalities")),
        keeps_cache=isinstance(cache, dict) and cache.get("ttl") not in (None, CACHE_TTL_DEFAULT),
    )


def counted_bound(document: Mapping[str, Any], bound: Bound, count: Callable[[str], int]) -> Bound:
    """Return *bound* with the text of *document* counted in tokens, which *count* does; never more than *bound* was.

    What is not a message is twice its tokens as JSON: nobody has published how models are shown tools and schemas.
    Raises TypeError for a document that is nested too deeply to be written as JSON.
    """
    media = _media(document["messages"])
    tokens = _frame(document) + IMAGE_TOKENS_MAX * media.images + media.heard_bytes
    for message in document["messages"]:
        tokens += _MESSAGE_TOKENS + sum(counted(scalar, count) for scalar in scalars(message))
    for name, value in document.items():
        if name != "messages":
            written = orjson.dumps({name: value}).decode()
            tokens += min(len(written.encode()), 2 * count(written))
    return bound._replace(input_tokens=min(bound.input_tokens, tokens))


def _media(messages: list[Any]) -> _Media:
    images = inlined = heard = 0
    hears = is_unknown = False
    for message in objects(messages):
        if message.get("audio") is not None:  # an earlier answer that was spoken, by its id
            hears = is_unknown = True
        content = message.get("content")
        for part in objects([content] if isinstance(content, dict) else content):
            kinds = part.keys() - _ALLOWED_IN_PARTS
            if kinds == {"image_url"}:
                images += 1
                inlined += _inlined_bytes(part["image_url"])
            elif kinds == {"input_audio"}:
                hears = True
                heard += len(str(part["input_audio"]))
            elif not kinds <= {"text", "refusal"}:
                is_unknown = True
    return _Media(images, inlined, heard, hears, is_unknown)


def _inlined_bytes(image: object) -> int:
    url = image.get("url") if isinstance(image, dict) else image
    return len(url) if isinstance(url, str) and url.startswith("data:") else 0


def _may_search(document: Mapping[str, Any]) -> bool:
    """Tell whether the upstream may look something up, and charge for it and for reading what it found."""
    if document.get("web_search_options") is not None or "search" in document["model"]:
        return True
    return any(str(tool.get("type")) not in {"function", "custom"} for tool in objects(document.get("tools")))


def _frame(document: Mapping[str, Any]) -> int:
    has_tools = document.get("tools") is not None or document.get("functions") is not None
    return _FRAME_TOKENS + (_TOOLS_TOKENS if has_tools else 0)


def _predicted(prediction: object, body: bytes) -> int:
    if prediction is None:
        return 0
    content = prediction.get("content") if isinstance(prediction, dict) else None
    return len(content.encode()) if isinstance(content, str) else len(body)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def scalars(message: object) -> Iterator[object]:
    """Yield every name and value in *message* but media, which are counted apart."""
    left = [message]
    while left:  # not by recursion, as a body may be nested deeper than Python recurses
        value = left.pop()
        if isinstance(value, list):
            left.extend(value)
        elif isinstance(value, dict):
            left.extend(value)
            left.extend(inner for name, inner in value.items() if name not in _MEDIA)
        else:
            yield value


def counted(scalar: object, count: Callable[[str], int]) -> int:
    """Return the most tokens that *scalar* is, its text counted by *count*."""
    return count(scalar) + _STRING_TOKENS if isinstance(scalar, str) else _SCALAR_TOKENS
