"""POST /v1/embeddings: unit vectors made from a digest of the input, as numbers or as base64.

The same input gives the same vector; similar inputs do not. https://platform.openai.com/docs/api-reference/embeddings
"""

import base64
import hashlib
import math
import sys
from array import array
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson

from app.simulator.fields import Document, find_number
from app.simulator.refusal import Refusal, invalid_type, invalid_value, missing_parameter
from app.simulator.text import count_tokens

_DIMENSIONS_DEFAULT: Final = 1536
_DIMENSIONS_MAX: Final = 8192
_INPUTS_MAX: Final = 2048
_EXPECTED: Final = "a string, an array of strings, an array of integers or an array of arrays of integers"

Input = str | list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingsRequest:
    """A request that may be answered."""

    inputs: list[Input]
    dimensions: int
    as_base64: bool

    def count_tokens(self) -> int:
        """Return the tokens of all inputs."""
        return sum(count_tokens(text) if isinstance(text, str) else len(text) for text in self.inputs)


def read_embeddings_request(document: Document) -> EmbeddingsRequest:
    """Return the request in *document*; raises Refusal (400)."""
    encoding = document.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise invalid_value("encoding_format", f"Invalid value: '{encoding}'. Supported values are: 'float', 'base64'.")
    return EmbeddingsRequest(
        inputs=_read_inputs(document.get("input")),
        dimensions=find_number(document, "dimensions", 1, _DIMENSIONS_MAX) or _DIMENSIONS_DEFAULT,
        as_base64=encoding == "base64",
    )


def embeddings_body(request: EmbeddingsRequest, model: str, prompt_tokens: int | None) -> bytes:
    """Return the list object as JSON; without a usage when *prompt_tokens* is None."""
    data = []
    for index, text in enumerate(request.inputs):
        content = text.encode() if isinstance(text, str) else orjson.dumps(text)
        vector = _vector(content, request.dimensions)
        embedding = _base64(vector) if request.as_base64 else vector.tolist()
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    answer: dict[str, Any] = {"object": "list", "data": data, "model": model}
    if prompt_tokens is not None:
        answer["usage"] = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return orjson.dumps(answer)


def _read_inputs(value: object) -> list[Input]:
    if value is None:
        raise missing_parameter("input")
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise invalid_type("input", _EXPECTED, value)
    inputs: list[Any] = [value] if value and all(_is_token(item) for item in value) else value
    if not 1 <= len(inputs) <= _INPUTS_MAX:
        raise Refusal(400, f"'$.input' must have 1 to {_INPUTS_MAX} items.", param="input", code=None)
    for item in inputs:
        if not isinstance(item, str) and not (isinstance(item, list) and all(_is_token(token) for token in item)):
            raise invalid_type("input", _EXPECTED, item)
        if not item:
            raise Refusal(400, "'$.input' cannot be an empty string.", param="input", code=None)
    return inputs


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@lru_cache(maxsize=256)
def _vector(content: bytes, dimensions: int) -> "array[float]":
    """Return *dimensions* 32-bit floats whose squares add up to 1."""
    numbers = array("h", hashlib.shake_128(content).digest(2 * dimensions))
    if sys.byteorder == "big":
        numbers.byteswap()
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return array("f", [number / length for number in numbers])


def _base64(vector: "array[float]") -> str:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()
