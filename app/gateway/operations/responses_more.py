"""Beside responses: how many tokens a request would be, and a conversation in short.

https://platform.openai.com/docs/api-reference/responses/input-tokens
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from app.gateway.body import find_model, json_object, read_object, refuse_ambiguous
from app.gateway.operations.operation import Answered, MeteredRequest, Whole
from app.gateway.operations.responses import METERED, Responses, tokens_sent
from app.gateway.references import references_of, refuse_repeated
from app.prices.service import Bound
from app.prices.usage import NO_USAGE

_DEFAULT_MODEL: Final = "gpt-4o"
"""Decides who is asked when a request names none."""


class InputTokens(Responses):
    """The operation `responses.input_tokens`: it is free."""

    name = "responses.input_tokens"
    path = "/responses/input_tokens"
    is_free = True

    def read(self, body: bytes, headers: Mapping[str, str]) -> MeteredRequest:
        """Return the request in *body*, whose model may be missing; raises a Refusal."""
        document = read_object(body, headers.get("content-type"), headers.get("content-encoding"))
        refuse_ambiguous(body, document, METERED)
        refuse_repeated(body)
        return MeteredRequest(
            model=find_model(document, _DEFAULT_MODEL),
            bound=Bound(0, 0),
            body=body,
            input_tokens=tokens_sent(document),
            references=references_of(document),
        )

    def answered(self, whole: Whole) -> Answered | None:
        """Return that nothing was used; None for what is not a JSON object."""
        return None if json_object(whole.body) is None else Answered(NO_USAGE)


class Compact(Responses):
    """The operation `responses.compact`: nothing of it is stored, and it has no maximum to set."""

    name = "responses.compact"
    path = "/responses/compact"

    def read(self, body: bytes, headers: Mapping[str, str]) -> MeteredRequest:
        """Return the request in *body*; raises a Refusal that says what is wrong with it and where."""
        request = super().read(body, headers)
        bound = request.bound._replace(output_tokens=None)
        return replace(request, bound=bound, streamed=False, stores=False, is_background=False, is_capped=True)
