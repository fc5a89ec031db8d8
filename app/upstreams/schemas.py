"""Models on the wire, in OpenAI's shape; what an upstream adds is kept."""

from typing import Final, Literal

from pydantic import ConfigDict
from pydantic.config import JsonDict

from app.core.shape import Shape

_EXAMPLE: Final[JsonDict] = {"id": "gpt-4o-mini", "object": "model", "created": 1721172741, "owned_by": "system"}


class Model(Shape):
    """A model that can be named in a call."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": _EXAMPLE})

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = ""


class ModelList(Shape):
    """Every model, on one page."""

    model_config = ConfigDict(json_schema_extra={"example": {"object": "list", "data": [_EXAMPLE]}})

    object: Literal["list"] = "list"
    data: list[Model]
