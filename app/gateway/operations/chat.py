"""Chat completions: what Weir must know of a request and of its answer.

https://platform.openai.com/docs/api-reference/chat/create
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from app.gateway.body import (
    find_whole_number,
    json_object,
    may_hide_names,
    read_model,
    read_object,
    refuse_ambiguous,
    required,
)
from app.gateway.bound import chat_bound, counted_bound
from app.gateway.operations.chat_stream import ChatStream, SpokenChatStream, StoredChatStream, spoken, stored_completion
from app.gateway.operations.operation import Answered, MeteredRequest, Operation, Whole
from app.gateway.references import references_of, refuse_repeated
from app.gateway.splice import put_in_front, replace_member
from app.gateway.stream_options import ask_for_usage
from app.gateway.usage import chat_usage, generated_tokens, input_tokens, objects
from app.prices.service import Bound

_MAXIMA: Final = ("max_completion_tokens", "max_tokens")
_MAXIMUM: Final = 10_000_000
"""More tokens than any model can answer with."""
_CHOICES_MAX: Final = 128
_METERED: Final = frozenset(
    {
        "audio",
        "functions",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "modalities",
        "model",
        "n",
        "prediction",
        "prompt_cache_options",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "tools",
        "web_search_options",
    }
)
"""What decides about the cost of a call, and so must not be open to two readings."""
_INPUT: Final = ("messages", "tools", "functions", "response_format")


class ChatCompletions(Operation):
    """The operation `chat.completions`."""

    name = "chat.completions"
    path = "/chat/completions"

    def read(self, body: bytes, headers: Mapping[str, str]) -> MeteredRequest:
        """Return the request in *body*; raises a Refusal that says what is wrong with it and where."""
        document = read_object(body, headers.get("content-type"), headers.get("content-encoding"))
        model = read_model(document)
        required(document, "messages", list)
        refuse_ambiguous(body, document, _METERED)
        # 0 is for the upstream to refuse, or to take for none: nothing is believed to be bounded by it.
        maxima = [find_whole_number(document, name, _MAXIMUM, minimum=0) for name in _MAXIMA]
        find_whole_number(document, "n", _CHOICES_MAX)
        request = MeteredRequest(
            model=model,
            bound=chat_bound(document, body),
            is_capped=any(maxima),
            service_tier=_text(document.get("service_tier")),
            body=body,
            input_tokens=input_tokens([document[name] for name in _INPUT if name in document]),
            stores=document.get("store") is True,
            references=_references(document, body),
        )
        ask_for_usage(request, document)
        return request

    def capped(self, body: bytes, output_tokens: int) -> bytes:
        """Return *body*, which names no maximum, with *output_tokens* as that of each choice."""
        document: dict[str, Any] = {}
        if may_hide_names(body) or b'"max_' in body or b'"prediction"' in body:
            document = orjson.loads(body)
        # A predicted output is only for models that know `max_tokens`, and refuses the newer name.
        name = "max_tokens" if document.get("prediction") is not None else "max_completion_tokens"
        if name in document:
            return replace_member(body, name, b"%d" % output_tokens)
        return put_in_front(body, b'"%b":%d,' % (name.encode(), output_tokens))

    def counted_bound(self, request: MeteredRequest, count: Callable[[str], int]) -> Bound | None:
        """Return the bound of *request* with its text counted in tokens by *count*, None when that cannot be done."""
        try:
            return counted_bound(orjson.loads(request.body), request.bound, count)
        except orjson.JSONEncodeError:  # it writes less deeply nested JSON than it reads
            return None

    def answered(self, whole: Whole) -> Answered | None:
        """Return what a completion says; None for what is not a JSON object."""
        document = json_object(whole.body)
        if document is None:
            return None
        usage = chat_usage(document.get("usage"))
        tokens = 0
        if usage is None:
            tokens = sum(generated_tokens(choice.get("message")) for choice in objects(document.get("choices")))
        stored = stored_completion(document) if whole.request.stores else ()
        stored += spoken(document) if whole.request.bound.speaks else ()
        return Answered(usage, document.get("model"), document.get("service_tier"), tokens, stored)

    def stream(self, request: MeteredRequest) -> ChatStream:
        """Return what meters its stream of chunks."""
        if request.bound.speaks:
            return SpokenChatStream(hide_usage=request.hides_usage, stores=request.stores)
        kind = StoredChatStream if request.stores else ChatStream
        return kind(hide_usage=request.hides_usage)


def _references(document: dict[str, Any], body: bytes) -> tuple[str, ...]:
    """Return the ids of files and sounds in the messages, and of a voice; hardly any request has some."""
    if b'"file_id"' not in body and b'"voice"' not in body and b'"audio"' not in body and not may_hide_names(body):
        return ()
    refuse_repeated(body)
    return references_of(document)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
