"""Moderations: texts and images in, a verdict out. They are free, whatever the model, and need no price.

https://platform.openai.com/docs/api-reference/moderations/create
"""

from collections.abc import Mapping
from typing import Final

from app.gateway.body import find_model, json_object, read_object, refuse_ambiguous
from app.gateway.operations.chat_stream import ChatStream
from app.gateway.operations.operation import Answered, MeteredRequest, Operation, Whole
from app.gateway.usage import input_tokens
from app.prices.service import Bound

_MODEL_DEFAULT: Final = "omni-moderation-latest"
_METERED: Final = frozenset({"model"})
_FREE: Final = Bound(input_tokens=0, output_tokens=0)


class Moderations(Operation):
    """The operation `moderations`."""

    name = "moderations"
    path = "/moderations"
    is_free = True

    def read(self, body: bytes, headers: Mapping[str, str]) -> MeteredRequest:
        """Return the request in *body*; raises a Refusal that says what is wrong with it and where."""
        document = read_object(body, headers.get("content-type"), headers.get("content-encoding"))
        model = find_model(document, _MODEL_DEFAULT)
        refuse_ambiguous(body, document, _METERED)
        return MeteredRequest(model, _FREE, body, input_tokens(document.get("input")))

    def answered(self, whole: Whole) -> Answered | None:
        """Return what a verdict says, its input as counted by us: it has no usage. None for what is no JSON object."""
        document = json_object(whole.body)
        return None if document is None else Answered(self.estimated(whole.request), document.get("model"))

    def stream(self, request: MeteredRequest) -> ChatStream:  # noqa: ARG002
        """Return what meters a stream: OpenAI has none here, and what another server sends is taken for one of chat."""
        return ChatStream(hide_usage=False)
