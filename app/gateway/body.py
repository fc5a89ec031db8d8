"""Reads a JSON request body far enough to route and meter it; everything else in it stays as it came."""

from typing import Any, Final

import orjson

from app.errors import InvalidJson, InvalidRequest, InvalidType, MissingParameter, UnsupportedMediaType

_MODEL_CHARACTERS_MAX: Final = 256
_JSON_NAMES: Final = {str: "a string", bool: "a boolean", list: "an array", dict: "an object", type(None): "null"}


def read_object(body: bytes, content_type: str | None, content_encoding: str | None) -> dict[str, Any]:
    """Return the JSON object (RFC 8259) in *body*.

    Raises UnsupportedMediaType for another content type or a compressed body, and InvalidJson for what cannot be
    parsed (also NaN, unpaired surrogates, and nesting deeper than 1,024) or is not an object.
    """
    if content_type is not None and not _is_json(content_type):
        raise UnsupportedMediaType(f"The content type must be application/json, not '{content_type[:100]}'.")
    if (content_encoding or "identity").lower() != "identity":
        raise UnsupportedMediaType("Compressed request bodies are not supported: send the JSON as it is.")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidJson(f"The request body is not valid JSON: {_reason(error)}") from None
    if not isinstance(document, dict):
        raise InvalidJson(f"The request body must be a JSON object, but is {json_name(document)}.")
    return document


def read_model(document: dict[str, Any]) -> str:
    """Return the `model` of a request; raises MissingParameter, InvalidType or InvalidRequest."""
    model: str = required(document, "model", str)
    if not model:
        raise MissingParameter("model")
    if len(model) > _MODEL_CHARACTERS_MAX or not model.isprintable():
        raise InvalidRequest(
            f"Invalid 'model': must have at most {_MODEL_CHARACTERS_MAX} characters, all of them printable.",
            param="model",
        )
    return model


def required(document: dict[str, Any], name: str, kind: type) -> Any:
    """Return a parameter that must be there and of the JSON type *kind*; raises MissingParameter or InvalidType."""
    if name not in document:
        raise MissingParameter(name)
    value = document[name]
    if not isinstance(value, kind):
        raise InvalidType(name, expected=_JSON_NAMES[kind], got=json_name(value))
    return value


def optional(document: dict[str, Any], name: str, kind: type) -> Any:
    """Return a parameter of the JSON type *kind*, None when it is not there or null; raises InvalidType."""
    return None if document.get(name) is None else required(document, name, kind)


def json_name(value: object) -> str:
    """Return what JSON calls the type of *value*, with its article."""
    return _JSON_NAMES.get(type(value), "a number")


def _is_json(content_type: str) -> bool:
    essence = content_type.partition(";")[0].strip().lower()
    return essence == "application/json" or (essence.startswith("application/") and essence.endswith("+json"))


def _reason(error: orjson.JSONDecodeError) -> str:
    """Return what is wrong and where, without any of the body's own text."""
    return f"{error.msg.partition(':')[0]} (line {error.lineno}, column {error.colno})"
