"""Completions, the endpoint before chat: prompts in, text out. A request without a maximum gets 16 tokens.

https://platform.openai.com/docs/api-reference/completions/create
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from app.gateway.body import find_whole_number, json_object, optional, read_model, read_object, refuse_ambiguous
from app.gateway.operations.chat_stream import ChatStream
from app.gateway.operations.operation import Answered, MeteredRequest, Operation, Whole
from app.gateway.splice import replace_member
from app.gateway.stream_options import ask_for_usage
from app.gateway.text_input import TextInput, read_text_input
from app.gateway.usage import objects, prompt_usage, text_tokens
from app.prices.service import Bound

_METERED: Final = frozenset({"best_of", "max_tokens", "model", "n", "prompt", "stream", "stream_options", "suffix"})
_MAXIMUM: Final = 10_000_000
"""More tokens than any model can answer with."""
_CHOICES_MAX: Final = 128
_OUTPUT_TOKENS_DEFAULT: Final = 16


class Completions(Operation):
    """The operation `completions`."""

    name = "completions"
    path = "/completions"

    def read(self, body: bytes, headers: Mapping[str, str]) -> MeteredRequest:
        """Return the request in *body*; raises a Refusal that says what is wrong with it and where."""
        document = read_object(body, headers.get("content-type"), headers.get("content-encoding"))
        model = read_model(document)
        refuse_ambiguous(body, document, _METERED)
        optional(document, "suffix", str)
        maximum = find_whole_number(document, "max_tokens", _MAXIMUM, minimum=0)
        candidates = find_whole_number(document, "best_of", _CHOICES_MAX, minimum=0) or 1
        choices = max(find_whole_number(document, "n", _CHOICES_MAX) or 1, candidates)
        prompts = _prompts(document)
        bound = prompts.bound._replace(
            output_tokens=_OUTPUT_TOKENS_DEFAULT if maximum is None else maximum, choices=choices * prompts.inputs
        )
        # Not every server has OpenAI's default: where a budget relies on it, it is sent.
        request = MeteredRequest(model, bound, body, prompts.estimated_tokens(), is_capped=maximum is not None)
        ask_for_usage(request, document)
        return request

    def capped(self, body: bytes, output_tokens: int) -> bytes:
        """Return *body*, which names no maximum, with *output_tokens* as that of each choice."""
        return replace_member(body, "max_tokens", b"%d" % output_tokens)

    def counted_bound(self, request: MeteredRequest, count: Callable[[str], int]) -> Bound:
        """Return the bound of *request* with its text counted in tokens by *count*."""
        counted = _prompts(orjson.loads(request.body)).counted_bound(count)
        return counted._replace(output_tokens=request.bound.output_tokens, choices=request.bound.choices)

    def answered(self, whole: Whole) -> Answered | None:
        """Return what a completion says; None for what is not a JSON object."""
        document = json_object(whole.body)
        if document is None:
            return None
        usage = prompt_usage(document.get("usage"))
        tokens = 0 if usage else sum(_tokens_of(choice) for choice in objects(document.get("choices")))
        return Answered(usage, document.get("model"), document.get("service_tier"), tokens)

    def stream(self, request: MeteredRequest) -> "CompletionStream":
        """Return what meters its stream of chunks."""
        return CompletionStream(hide_usage=request.hides_usage)


class CompletionStream(ChatStream):
    """Like that of chat, but for the text itself in the place of a message's piece."""

    def tokens_of_choice(self, choice: dict[str, Any]) -> int:
        """Return about how many tokens one choice of a chunk has from the model."""
        return _tokens_of(choice)


def _prompts(document: dict[str, Any]) -> TextInput:
    """Return the prompts of a request, each of which has its suffix to read too."""
    prompts = read_text_input(document.get("prompt") or "")
    return prompts._replace(suffix=document.get("suffix") or "")


def _tokens_of(choice: dict[str, Any]) -> int:
    text = choice.get("text")
    return text_tokens(text.encode()) if isinstance(text, str) else 0
