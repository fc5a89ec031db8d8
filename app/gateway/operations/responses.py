"""Responses: what Weir must know of a request and of its answer.

https://platform.openai.com/docs/api-reference/responses/create
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from app.gateway.body import (
    find_model,
    find_whole_number,
    json_object,
    may_hide_names,
    optional,
    read_object,
    refuse_ambiguous,
)
from app.gateway.operations.operation import Answered, MeteredRequest, Operation, Whole
from app.gateway.operations.responses_stream import ResponsesStream
from app.gateway.references import references_of, refuse_repeated
from app.gateway.responses_bound import (
    TOOL_CALLS_DEFAULT,
    counted_responses_bound,
    hosted_tools,
    responses_bound,
    tool_models,
)
from app.gateway.responses_usage import (
    PENDING,
    named_tools,
    output_tokens,
    responses_usage,
    stored_objects,
    tools_usage,
)
from app.gateway.splice import replace_member
from app.gateway.usage import input_tokens
from app.prices.service import Bound
from app.prices.usage import NO_USAGE

_OUTPUT_TOKENS_MAX: Final = 10_000_000
"""More than any model can answer with."""
_TOOL_CALLS_MAX: Final = 100_000
_NO_MODEL: Final = "default"
"""What a request that leaves its model to a stored prompt asks for: unpriced until the answer names its model."""
METERED: Final = frozenset(
    {
        "background",
        "conversation",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "model",
        "multi_agent",
        "previous_response_id",
        "prompt",
        "prompt_cache_options",
        "service_tier",
        "store",
        "stream",
        "tools",
    }
)
"""What decides about the cost of a call, or whom it concerns, and so must not be open to two readings."""
_INPUT: Final = ("input", "instructions", "tools", "text")


class Responses(Operation):
    """The operation `responses`."""

    name = "responses"
    path = "/responses"

    def read(self, body: bytes, headers: Mapping[str, str]) -> MeteredRequest:
        """Return the request in *body*; raises a Refusal that says what is wrong with it and where."""
        document = read_object(body, headers.get("content-type"), headers.get("content-encoding"))
        model = find_model(document, _NO_MODEL)
        refuse_ambiguous(body, document, METERED)
        refuse_repeated(body)
        # 0 is for the upstream to refuse, or to take for none: nothing is believed to be bounded by it.
        maximum = find_whole_number(document, "max_output_tokens", _OUTPUT_TOKENS_MAX, minimum=0)
        calls = find_whole_number(document, "max_tool_calls", _TOOL_CALLS_MAX, minimum=0)
        service_tier = document.get("service_tier")
        return MeteredRequest(
            model=model,
            bound=responses_bound(document, body),
            body=body,
            input_tokens=tokens_sent(document),
            streamed=bool(optional(document, "stream", bool)),
            is_capped=bool(maximum) and (bool(calls) or not hosted_tools(document).are_there),
            service_tier=service_tier if isinstance(service_tier, str) else None,
            stores=optional(document, "store", bool) is not False,
            is_background=bool(optional(document, "background", bool)),
            references=references_of(document),
            tool_models=tool_models(document),
            tools=named_tools(document),
        )

    def capped(self, body: bytes, output_tokens: int) -> bytes:
        """Return *body* with *output_tokens* as its maximum, and one for its calls of tools if it names none."""
        may_run_tools = may_hide_names(body) or b'"tools"' in body or b'"prompt"' in body
        document = orjson.loads(body) if may_run_tools else {}
        if not document.get("max_tool_calls") and hosted_tools(document).are_there:
            body = replace_member(body, "max_tool_calls", b"%d" % TOOL_CALLS_DEFAULT)
        return replace_member(body, "max_output_tokens", b"%d" % output_tokens)

    def counted_bound(self, request: MeteredRequest, count: Callable[[str], int]) -> Bound | None:
        """Return the bound of *request* with its text counted in tokens by *count*, None when that cannot be done."""
        try:
            return counted_responses_bound(orjson.loads(request.body), request.bound, count)
        except orjson.JSONEncodeError:  # it writes less deeply nested JSON than it reads
            return None

    def answered(self, whole: Whole) -> Answered | None:
        """Return what a response says; None for what is not a JSON object."""
        response = json_object(whole.body)
        if response is None:
            return None
        usage = responses_usage(response, whole.request.tools)
        return Answered(
            usage,
            response.get("model"),
            response.get("service_tier"),
            output_tokens(response) if usage is None else 0,
            stored=stored_objects(response, stores=whole.request.stores),
            apart=tools_usage(response, whole.request.tools) if usage is None else NO_USAGE,
            is_pending=whole.request.is_background and usage is None and response.get("status") in PENDING,
        )

    def stream(self, request: MeteredRequest) -> ResponsesStream:
        """Return what meters its stream of events."""
        return ResponsesStream(request.tools, stores=request.stores)


def tokens_sent(document: Mapping[str, Any]) -> int:
    """Return about how many tokens a request sends; nothing is known of what it goes on from."""
    return input_tokens([document.get(name) for name in _INPUT])
