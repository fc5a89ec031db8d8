"""How embeddings, completions, moderations and images are described in the API; requests are never parsed with these.

The whole of each is OpenAI's: https://platform.openai.com/docs/api-reference
"""

from typing import Any, Final

from app.gateway.schemas import ERRORS

_MODEL: Final = {"type": ["string", "null"], "minLength": 1, "maxLength": 256}
_COUNT: Final = {"type": ["integer", "null"], "minimum": 1, "maximum": 10, "default": 1}
_STREAM: Final = {"type": ["boolean", "null"], "default": False}
_TEXTS: Final = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
    ]
}
_FILE: Final = {"type": "string", "format": "binary"}
_IMAGE_PROPERTIES: Final = {
    "model": _MODEL,
    "prompt": {"type": "string"},
    "n": _COUNT,
    "size": {"type": ["string", "null"]},
    "quality": {"type": ["string", "null"]},
    "stream": _STREAM,
    "partial_images": {"type": ["integer", "null"], "minimum": 0, "maximum": 3},
}
_FORM_PROPERTIES: Final = {
    "model": {"type": "string"},
    "prompt": {"type": "string"},
    "n": {"type": "integer", "minimum": 1, "maximum": 10},
    "size": {"type": "string"},
    "quality": {"type": "string"},
    "stream": {"type": "boolean"},
    "partial_images": {"type": "integer", "minimum": 0, "maximum": 3},
}


def _object(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required, "additionalProperties": True, "properties": properties}


def _json(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema, "examples": {"plain": {"value": example}}}}


def _docs(content: dict[str, Any], answer: dict[str, Any], *, streams: bool = True) -> dict[str, Any]:
    answers: dict[str, Any] = {"application/json": {"schema": {"type": "object"}, "example": answer}}
    if streams:
        answers["text/event-stream"] = {"schema": {"type": "string"}}
    headers = {
        "x-request-id": {"schema": {"type": "string"}, "description": "Names the receipt of the call."},
        "x-weir-cost-usd": {
            "schema": {"type": "string"},
            "description": "What the call cost, in exact decimal dollars; on plain answers.",
        },
    }
    return {
        "responses": {
            200: {"description": "As the upstream answers.", "headers": headers, "content": answers},
            **ERRORS,
        },
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
    }


_IMAGES_ANSWER: Final = {"created": 1795361640, "data": [{"b64_json": "iVBORw0KGgo="}]}
EMBEDDINGS_DOCS: Final = _docs(
    _json(
        _object(["model", "input"], {"model": {**_MODEL, "type": "string"}, "input": _TEXTS}),
        {"model": "sim-embedding", "input": "A weir holds back water."},
    ),
    {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.6, 0.8]}],
        "model": "sim-embedding",
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
    },
    streams=False,
)
COMPLETIONS_DOCS: Final = _docs(
    _json(
        _object(
            ["model"],
            {
                "model": {**_MODEL, "type": "string"},
                "prompt": _TEXTS,
                "max_tokens": {"type": ["integer", "null"], "minimum": 0, "default": 16},
                "n": {**_COUNT, "maximum": 128},
                "stream": _STREAM,
            },
        ),
        {"model": "sim-small", "prompt": "A weir is"},
    ),
    {
        "id": "cmpl-123",
        "object": "text_completion",
        "created": 1795361640,
        "model": "sim-small",
        "choices": [{"index": 0, "text": " a wall.", "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
    },
)
MODERATIONS_DOCS: Final = _docs(
    _json(
        _object(["input"], {"model": {**_MODEL, "type": ["string", "null"]}}),
        {"model": "sim-moderation", "input": "I like weirs."},
    ),
    {"id": "modr-123", "model": "sim-moderation", "results": [{"flagged": False, "categories": {}}]},
    streams=False,
)
IMAGE_GENERATIONS_DOCS: Final = _docs(
    _json(_object(["prompt"], _IMAGE_PROPERTIES), {"model": "sim-image", "prompt": "A heron on a weir."}),
    _IMAGES_ANSWER,
)
IMAGE_EDITS_DOCS: Final = _docs(
    {
        "multipart/form-data": {"schema": _object(["image", "prompt"], {**_FORM_PROPERTIES, "image": _FILE})},
        **_json(
            _object(
                ["images", "prompt"],
                {
                    **_IMAGE_PROPERTIES,
                    "images": {"type": "array", "items": _object([], {"image_url": {"type": "string"}})},
                },
            ),
            {
                "model": "sim-image",
                "prompt": "At dusk.",
                "images": [{"image_url": "data:image/png;base64,iVBORw0KGgo="}],
            },
        ),
    },
    _IMAGES_ANSWER,
)
IMAGE_VARIATIONS_DOCS: Final = _docs(
    {"multipart/form-data": {"schema": _object(["image"], {**_FORM_PROPERTIES, "image": _FILE})}},
    _IMAGES_ANSWER,
    streams=False,
)
