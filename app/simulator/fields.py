"""Reads members of a request's JSON and refuses what is missing or of the wrong type, in OpenAI's words."""

from typing import Any

import orjson

from app.simulator.refusal import Refusal, invalid_body, invalid_type, missing_parameter

Document = dict[str, Any]


def read_document(body: bytes) -> Document:
    """Return the JSON object in *body*; raises Refusal (400)."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise invalid_body() from None
    if not isinstance(document, dict):
        raise invalid_body()
    return document


def read_text(document: Document, name: str, *, within: str = "") -> str:
    """Return the required string *name*; raises Refusal (400), whose param has *within* before the name."""
    value = document.get(name)
    if value is None:
        raise missing_parameter(within + name)
    if not isinstance(value, str):
        raise invalid_type(within + name, "a string", value)
    return value


def read_flag(document: Document, name: str, *, within: str = "") -> bool:
    """Return the boolean *name*, False when it is missing or null; raises Refusal (400)."""
    value = document.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid_type(within + name, "a boolean", value)
    return bool(value)


def find_number(document: Document, name: str, low: int, high: int) -> int | None:
    """Return the whole number *name*, or None when it is missing or null; raises Refusal (400), also out of bounds."""
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid_type(name, "an integer", value)
    if value < low:
        message = f"Invalid '{name}': integer below minimum value. Expected a value >= {low}, but got {value} instead."
        raise Refusal(400, message, param=name, code="integer_below_min_value")
    if value > high:
        message = f"Invalid '{name}': integer above maximum value. Expected a value <= {high}, but got {value} instead."
        raise Refusal(400, message, param=name, code="integer_above_max_value")
    return value


def find_object(document: Document, name: str, *, within: str = "") -> Document | None:
    """Return the object *name*, or None when it is missing or null; raises Refusal (400)."""
    value = document.get(name)
    if value is not None and not isinstance(value, dict):
        raise invalid_type(within + name, "an object", value)
    return value


def read_objects(document: Document, name: str) -> list[Document]:
    """Return the array of objects *name*, empty when it is missing or null; raises Refusal (400)."""
    value = document.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid_type(name, "an array of objects", value)
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise invalid_type(f"{name}[{index}]", "an object", item)
    return value
