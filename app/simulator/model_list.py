"""GET /v1/models: the three names that the list shows; a single model is found by any name.

https://platform.openai.com/docs/api-reference/models
"""

from typing import Any, Final

import orjson

MODELS: Final = ("sim-small", "sim-large", "sim-embedding")
_CREATED: Final = 1_767_225_600


def models_body() -> bytes:
    """Return the list object as JSON."""
    return orjson.dumps({"object": "list", "data": [_model(name) for name in MODELS]})


def model_body(name: str) -> bytes:
    """Return the model object of *name* as JSON."""
    return orjson.dumps(_model(name))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "simulator"}
