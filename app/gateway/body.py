"""Reads a JSON request body far enough to route and meter it; everything else in it stays as it came."""

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import orjson

from app.errors import (
    IntegerTooLarge,
    IntegerTooSmall,
    InvalidJson,
    InvalidRequest,
    InvalidType,
    MissingParameter,
    UnsupportedMediaType,
)
from app.gateway.splice import find_repeated
from app.gateway.usage import objects

_MODEL_CHARACTERS_MAX: Final = 256
_ESCAPED_LETTERS: Final = (b"\\u005", b"\\u006", b"\\u007")
"""How escapes of the underscore and of the letters a to z begin."""
_BRACKETS_MAX: Final = 65_536
_COMMAS_MAX: Final = 1_048_576
_UP_TO: Final = {
    marks: re.compile(rb'(?:[^"%b]++|"(?:[^"\\]++|\\.)*+"?+)*+(?:[%b]|\Z)' % (marks, marks), re.DOTALL)
    for marks in (rb"\[{", b",")
}
"""What comes before a mark outside of strings, and the mark. It matches wherever it is tried, so in linear time."""
_MATCHES_BEHIND: Final = 2
"""Of what is behind the last mark, and of nothing at all at the end."""
_MESSAGE_METERED: Final = frozenset({"audio", "content"})
_JSON_NAMES: Final = {
    str: "a string",
    bool: "a boolean",
    list: "an array",
    dict: "an object",
    int: "an integer",
    type(None): "null",
}


def read_object(body: bytes, content_type: str | None, content_encoding: str | None) -> dict[str, Any]:
    """Return the JSON object (RFC 8259) in *body*.

    Raises UnsupportedMediaType for another content type or a compressed body, InvalidJson for what cannot be
    parsed (also NaN, unpaired surrogates, and nesting deeper than 1,024) or is not an object, and InvalidRequest for
    one of very many values.
    """
    if content_type is not None and not _is_json(content_type):
        raise UnsupportedMediaType(f"The content type must be application/json, not '{content_type[:100]}'.")
    if (content_encoding or "identity").lower() != "identity":
        raise UnsupportedMediaType("Compressed request bodies are not supported: send the JSON as it is.")
    refuse_scattered(body)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidJson(f"The request body is not valid JSON: {_reason(error)}") from None
    if not isinstance(document, dict):
        raise InvalidJson(f"The request body must be a JSON object, but is {json_name(document)}.")
    return document


def refuse_scattered(body: bytes) -> None:
    """Raise InvalidRequest for JSON of more values than any model reads.

    Each takes a process about a microsecond and hundreds of bytes, for which all other calls of the process wait.
    """
    if body.count(b"[") + body.count(b"{") > _BRACKETS_MAX and _has_more(body, rb"\[{", _BRACKETS_MAX):
        raise InvalidRequest(f"The request body has more than {_BRACKETS_MAX:,} objects and arrays.")
    if body.count(b",") > _COMMAS_MAX and _has_more(body, b",", _COMMAS_MAX):
        raise InvalidRequest(f"The request body has more than {_COMMAS_MAX:,} values.")


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in the body of an upstream's answer, None for anything else."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def all_objects(document: object) -> Iterator[dict[str, Any]]:
    """Yield every object in *document*, at any depth."""
    left = [document]
    while left:  # not by recursion, as a document may be nested deeper than Python recurses
        value = left.pop()
        if isinstance(value, list):
            left.extend(value)
        elif isinstance(value, dict):
            left.extend(value.values())
            yield value


def says_error(body: bytes) -> bool:
    """Tell whether a JSON object is an error, or has failed with one, whatever the status of the answer it is."""
    return bool((json_object(body) or {}).get("error"))


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


def find_model(document: dict[str, Any], default: str) -> str:
    """Return the `model` of a request, *default* when it names none; raises InvalidType or InvalidRequest."""
    return default if document.get("model") is None else read_model(document)


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


def find_whole_number(document: dict[str, Any], name: str, maximum: int, *, minimum: int = 1) -> int | None:
    """Return a parameter that is a whole number from *minimum* to *maximum*, None when it is not there or null.

    Raises InvalidType, IntegerTooSmall or IntegerTooLarge.
    """
    value = document.get(name)
    if value is None:
        return None
    if type(value) is not int:
        raise InvalidType(name, expected="an integer", got=json_name(value))
    if value < minimum:
        raise IntegerTooSmall(name, minimum, value)
    if value > maximum:
        raise IntegerTooLarge(name, maximum, value)
    return value


def refuse_ambiguous(body: bytes, document: dict[str, Any], names: AbstractSet[str]) -> None:
    """Raise InvalidRequest when the upstream may read one of *names*, or a message's content, otherwise than Weir.

    JSON leaves open which of two members of the same name counts (RFC 8259, section 4), and some servers ignore case.
    """
    for name in document:
        if name not in names and name.casefold() in names:
            raise InvalidRequest(f"Unknown parameter: '{name[:100]}'. Names are lower case.", param=name[:100])
    if _may_repeat(body, document, names) and (repeated := find_repeated(body, names, _MESSAGE_METERED)):
        raise InvalidRequest(f"Invalid '{repeated}': it is there more than once.", param=repeated)


def may_hide_names(body: bytes) -> bool:
    """Tell whether a name of lower-case letters may be in *body* without its bytes being there.

    Text that is not English is often escaped as a whole, but nobody writes these letters so without a reason.
    """
    return b"\\u00" in body and any(escape in body for escape in _ESCAPED_LETTERS)


def _has_more(body: bytes, marks: bytes, most: int) -> bool:
    """Tell whether there are more than *most* of *marks* outside of strings; what is behind the last one counts too."""
    found = _UP_TO[marks].finditer(body)
    return next(islice(found, most + _MATCHES_BEHIND, None), None) is not None


def _may_repeat(body: bytes, document: dict[str, Any], names: AbstractSet[str]) -> bool:
    """Tell, cheaply, whether a name may be there more often than the parsed document shows."""
    if may_hide_names(body):
        return True
    for name in document:
        if name in names and name not in _MESSAGE_METERED and body.count(_quoted(name)) > 1:
            return True
    messages = objects(document.get("messages"))
    for name in _MESSAGE_METERED:
        times = len([message for message in messages if name in message]) + (name in document and name in names)
        if body.count(_quoted(name)) > times:
            return True
    return False


@lru_cache(maxsize=256)
def _quoted(name: str) -> bytes:
    return b'"%b"' % name.encode()


def json_name(value: object) -> str:
    """Return what JSON calls the type of *value*, with its article."""
    return _JSON_NAMES.get(type(value), "a number")


def _is_json(content_type: str) -> bool:
    essence = content_type.partition(";")[0].strip().lower()
    return essence == "application/json" or (essence.startswith("application/") and essence.endswith("+json"))


def _reason(error: orjson.JSONDecodeError) -> str:
    """Return what is wrong and where, without any of the body's own text."""
    return f"{error.msg.partition(':')[0]} (line {error.lineno}, column {error.colno})"
