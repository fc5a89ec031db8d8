"""Chat completions: what Weir must know of a request and of its answer.

https://platform.openai.com/docs/api-reference/chat/create
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.errors import InvalidType
from app.gateway.body import json_name, optional, read_model, read_object, required
from app.gateway.usage import chat_usage, estimate_input_tokens, generated_texts, text_tokens
from app.prices.usage import Usage

_ASK_FOR_USAGE: Final = b'"stream_options":{"include_usage":true}'


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat completion request, read."""

    model: str
    streamed: bool
    hides_usage: bool
    """The caller did not ask for the usage chunk of the stream; Weir did."""
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
        if not optional(document, "stream", bool):
            return ChatRequest(model, streamed=False, hides_usage=False, body=body)
        options = optional(document, "stream_options", dict) or {}
        wanted = options.get("include_usage")
        if wanted is not None and not isinstance(wanted, bool):
            raise InvalidType("stream_options.include_usage", expected="a boolean", got=json_name(wanted))
        if wanted:
            return ChatRequest(model, streamed=True, hides_usage=False, body=body)
        return ChatRequest(model, streamed=True, hides_usage=True, body=_with_usage(body, document, options))

    def usage(self, document: Mapping[str, Any]) -> Usage | None:
        """Return what a plain answer says it used."""
        return chat_usage(document.get("usage"))

    def estimated_input(self, body: bytes) -> int:
        """Return about how many input tokens the request in *body* is."""
        return estimate_input_tokens(orjson.loads(body)["messages"])

    def estimated_output(self, document: Mapping[str, Any]) -> int:
        """Return about how many tokens a plain answer that does not say so has generated."""
        choices = document.get("choices")
        messages = (choice.get("message") for choice in choices or () if isinstance(choice, dict))
        return sum(text_tokens(text) for message in messages for text in generated_texts(message))


def _with_usage(body: bytes, document: dict[str, Any], options: dict[str, Any]) -> bytes:
    """Return *body* asking for usage: its bytes stay, unless it has stream options that must be rewritten."""
    if "stream_options" in document:
        return orjson.dumps({**document, "stream_options": {**options, "include_usage": True}})
    start = body.index(b"{") + 1
    return body[:start] + _ASK_FOR_USAGE + b"," + body[start:]
