"""How responses, and what is stored upstream, are described in the API; requests are never parsed with these.

The whole of each is OpenAI's: https://platform.openai.com/docs/api-reference/responses
"""

from typing import Any, Final

from app.gateway.schemas import ERRORS

_RESPONSE: Final = {
    "id": "resp_123",
    "object": "response",
    "created_at": 1795361640,
    "status": "completed",
    "model": "sim-small",
    "output": [
        {
            "id": "msg_123",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello.", "annotations": [], "logprobs": []}],
        }
    ],
    "usage": {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    },
}
_COMPACTION: Final = {
    "id": "resp_124",
    "object": "response.compaction",
    "created_at": 1795361640,
    "output": [{"id": "cmp_123", "type": "compaction", "encrypted_content": "gAAAAA"}],
    "usage": _RESPONSE["usage"],
}
_COMPLETION: Final = {"id": "chatcmpl-123", "object": "chat.completion", "created": 1795361640, "model": "sim-small"}
_REQUEST: Final = {
    "type": "object",
    "required": ["model"],
    "additionalProperties": True,
    "properties": {
        "model": {"type": "string", "minLength": 1, "maxLength": 256},
        "input": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]},
        "stream": {"type": ["boolean", "null"], "default": False},
        "background": {"type": ["boolean", "null"], "default": False},
        "store": {"type": ["boolean", "null"], "default": True},
        "max_output_tokens": {"type": ["integer", "null"], "minimum": 1},
        "max_tool_calls": {"type": ["integer", "null"], "minimum": 1},
    },
}


def _answers(example: dict[str, Any], *, streams: bool = False) -> dict[int | str, dict[str, Any]]:
    content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}, "example": example}}
    if streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    return {200: {"description": "As the upstream answers.", "content": content}}


def _metered(example: dict[str, Any], *, streams: bool = False) -> dict[str, Any]:
    asked = {"plain": {"value": {"model": "sim-small", "input": "Say hello."}}}
    return {
        "responses": {**_answers(example, streams=streams), **ERRORS},
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _REQUEST, "examples": asked}},
            }
        },
    }


def _stored(example: dict[str, Any], *, streams: bool = False) -> dict[str, Any]:
    failures = {status: ERRORS[status] for status in (502, 504)}
    return {"response_model": None, "responses": {**_answers(example, streams=streams), **failures}}


def _listed(example: dict[str, Any]) -> dict[str, Any]:
    ends = {"first_id": example["id"], "last_id": example["id"], "has_more": False}
    return _stored({"object": "list", "data": [example], **ends})


RESPONSES_DOCS: Final = _metered(_RESPONSE, streams=True)
COMPACT_DOCS: Final = _metered(_COMPACTION)
INPUT_TOKENS_DOCS: Final = _metered({"object": "response.input_tokens", "input_tokens": 10})
STORED_RESPONSE_DOCS: Final = _stored(_RESPONSE, streams=True)
DELETED_RESPONSE_DOCS: Final = _stored({"id": "resp_123", "object": "response", "deleted": True})
INPUT_ITEMS_DOCS: Final = _listed({"id": "msg_1", "type": "message", "role": "user", "content": []})
STORED_COMPLETION_DOCS: Final = _stored(_COMPLETION)
STORED_COMPLETIONS_DOCS: Final = _listed(_COMPLETION)
DELETED_COMPLETION_DOCS: Final = _stored({"id": "chatcmpl-123", "object": "chat.completion.deleted", "deleted": True})
DELETED_MODEL_DOCS: Final = _stored({"id": "ft:gpt-4o-mini:acme::abc123", "object": "model", "deleted": True})
MESSAGES_DOCS: Final = _listed({"id": "chatcmpl-123-0", "role": "user", "content": "Say hello."})
