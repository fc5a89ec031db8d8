"""Embeddings: texts in, vectors out, billed by the tokens that go in.

https://platform.openai.com/docs/api-reference/embeddings/create
"""

from collections.abc import Callable, Mapping
from typing import Final

import orjson

from app.errors import InvalidType, MissingParameter
from app.gateway.body import json_name, json_object, read_model, read_object, refuse_ambiguous
from app.gateway.operations.chat_stream import ChatStream
from app.gateway.operations.operation import Answered, MeteredRequest, Operation, Whole
from app.gateway.text_input import read_text_input
from app.gateway.usage import prompt_usage
from app.prices.service import Bound

_METERED: Final = frozenset({"input", "model"})


class Embeddings(Operation):
    """The operation `embeddings`."""

    name = "embeddings"
    path = "/embeddings"

    def read(self, body: bytes, headers: Mapping[str, str]) -> MeteredRequest:
        """Return the request in *body*; raises a Refusal that says what is wrong with it and where."""
        document = read_object(body, headers.get("content-type"), headers.get("content-encoding"))
        model = read_model(document)
        value = document.get("input")
        if value is None:
            raise MissingParameter("input")
        if not isinstance(value, (str, list)):
            raise InvalidType("input", expected="a string or an array", got=json_name(value))
        refuse_ambiguous(body, document, _METERED)
        texts = read_text_input(value)
        return MeteredRequest(model, texts.bound, body, texts.estimated_tokens())

    def counted_bound(self, request: MeteredRequest, count: Callable[[str], int]) -> Bound:
        """Return the bound of *request* with its text counted in tokens by *count*."""
        return read_text_input(orjson.loads(request.body)["input"]).counted_bound(count)

    def answered(self, whole: Whole) -> Answered | None:
        """Return what a list of vectors says; None for what is not a JSON object."""
        document = json_object(whole.body)
        return None if document is None else Answered(prompt_usage(document.get("usage")), document.get("model"))

    def stream(self, request: MeteredRequest) -> ChatStream:  # noqa: ARG002
        """Return what meters a stream: OpenAI has none here, and what another server sends is taken for one of chat."""
        return ChatStream(hide_usage=False)
