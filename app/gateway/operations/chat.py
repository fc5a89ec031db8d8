"""Chat completions: what Weir must know of a request and of its answer.

https://platform.openai.com/docs/api-reference/chat/create
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from app.errors import InvalidRequest, InvalidType
from app.gateway.body import json_name, optional, read_model, read_object, required
from app.gateway.splice import replace_member
from app.gateway.usage import chat_usage, generated_tokens, input_tokens, objects
from app.prices.service import Bound
from app.prices.usage import Usage

_ASK_FOR_USAGE: Final = b'"stream_options":{"include_usage":true},'
_SEEN: Final = re.compile(rb'"(?:image_url|file)"')
_SEEN_TOKENS_MAX: Final = 50_000
"""More than any image or file that is only named by its address has been."""
_INPUT: Final = ("messages", "tools", "functions", "response_format")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat completion request, read."""

    model: str
    streamed: bool
    hides_usage: bool
    """The caller did not ask for the usage chunk of the stream; Weir did."""
    bound: Bound
    service_tier: str | None
    body: bytes
    """What goes upstream: the caller's bytes, unless usage had to be asked for."""


class ChatCompletions:
    """The operation `chat.completions`."""

    name: Final = "chat.completions"
    path: Final = "/chat/completions"

    def read(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        """Return the request in *body*; raises a Refusal that says what is wrong with it and where."""
        document = read_object(body, headers.get("content-type"), headers.get("content-encoding"))
        model = read_model(document)
        required(document, "messages", list)
        plain = ChatRequest(
            model=model,
            streamed=False,
            hides_usage=False,
            bound=_bound(document, body),
            service_tier=_text(document.get("service_tier")),
            body=body,
        )
        if not optional(document, "stream", bool):
            return plain
        options = optional(document, "stream_options", dict) or {}
        wanted = options.get("include_usage")
        if wanted is not None and not isinstance(wanted, bool):
            raise InvalidType("stream_options.include_usage", expected="a boolean", got=json_name(wanted))
        if wanted:
            return replace(plain, streamed=True)
        return replace(plain, streamed=True, hides_usage=True, body=_with_usage(body, document, options))

    def usage(self, document: Mapping[str, Any]) -> Usage | None:
        """Return what a plain answer says it used."""
        return chat_usage(document.get("usage"))

    def estimated_input(self, body: bytes) -> int:
        """Return about how many input tokens the request in *body* is."""
        document = orjson.loads(body)
        return input_tokens([document.get(name) for name in _INPUT])

    def estimated_output(self, document: Mapping[str, Any]) -> int:
        """Return about how many tokens a plain answer that does not say so has generated."""
        return sum(generated_tokens(choice.get("message")) for choice in objects(document.get("choices")))


def _bound(document: dict[str, Any], body: bytes) -> Bound:
    """Return the most that the request can use: a token is at least one byte of the body, or part of something seen."""
    maxima = [document.get(name) for name in ("max_completion_tokens", "max_tokens")]
    choices = document.get("n")
    return Bound(
        input_tokens=len(body) + _SEEN_TOKENS_MAX * len(_SEEN.findall(body)),
        output_tokens=max((maximum for maximum in maxima if type(maximum) is int and maximum > 0), default=None),
        choices=choices if type(choices) is int and choices > 1 else 1,
        may_hold_audio=b'"audio"' in body or b'"input_audio"' in body,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _with_usage(body: bytes, document: dict[str, Any], options: dict[str, Any]) -> bytes:
    """Return *body* asking for usage, every byte as it came but those of the stream options."""
    if "stream_options" not in document:
        start = body.index(b"{") + 1
        return body[:start] + _ASK_FOR_USAGE + body[start:]
    try:
        asking = orjson.dumps({**options, "include_usage": True})
    except orjson.JSONEncodeError:  # it writes less deeply nested JSON than it reads
        raise InvalidRequest("Invalid 'stream_options': nested too deeply.", param="stream_options") from None
    return replace_member(body, "stream_options", asking)
