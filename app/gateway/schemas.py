"""How metered routes are described in the API description; they are never parsed with these."""

from typing import Any, Final

_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_CHAT_REQUEST: Final = {
    "type": "object",
    "required": ["model", "messages"],
    "additionalProperties": True,
    "properties": {
        "model": {"type": "string", "minLength": 1, "maxLength": 256},
        "messages": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
        "stream": {"type": ["boolean", "null"], "default": False},
        "stream_options": {"type": ["object", "null"], "properties": {"include_usage": {"type": "boolean"}}},
    },
}
_CHAT_REQUEST_EXAMPLES: Final = {
    "plain": {
        "summary": "A plain answer from the built-in simulator",
        "value": {"model": "sim-small", "messages": [{"role": "user", "content": "Say hello."}]},
    },
    "stream": {
        "summary": "The same, streamed",
        "value": {"model": "sim-small", "stream": True, "messages": [{"role": "user", "content": "Say hello."}]},
    },
}
_CHAT_ANSWER_EXAMPLE: Final = {
    "id": "chatcmpl-123",
    "object": "chat.completion",
    "created": 1795361640,
    "model": "sim-small",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello.", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
}


def _error(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ERROR}}}


ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: _error("Something in the request is not allowed; `param` and the message say what."),
    401: _error("No key, or one that does not work."),
    403: _error("The key works, but may not do this."),
    404: _error("No such model or object."),
    413: _error("The body is too large."),
    415: _error("The body is not JSON."),
    "4XX": _error("Any other refusal, such as 405 or 431."),
    502: _error("The upstream failed; `code` says how."),
    503: _error("Weir cannot do this now; `Retry-After` says when to ask again."),
    504: _error("The upstream did not answer in time."),
}
CHAT_COMPLETIONS_DOCS: Final[dict[str, Any]] = {
    "responses": {
        200: {
            "description": "The completion, or its stream.",
            "headers": {
                "x-request-id": {"schema": {"type": "string"}, "description": "Names the receipt of the call."},
                "x-weir-cost-usd": {
                    "schema": {"type": "string"},
                    "description": "What the call cost, in exact decimal dollars; on plain answers.",
                },
            },
            "content": {
                "application/json": {"schema": {"type": "object"}, "example": _CHAT_ANSWER_EXAMPLE},
                "text/event-stream": {"schema": {"type": "string"}},
            },
        },
        **ERRORS,
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _CHAT_REQUEST, "examples": _CHAT_REQUEST_EXAMPLES}},
        }
    },
}
