"""What one request wants the simulator to do, written in its `x-simulator` header or behind its model name.

A pure parser: it never acts on a script, and never lets a misspelt one pass as "no script".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from app.simulator.refusal import Refusal, invalid_value

HANG_BEFORE: Final = "before"
_SCRIPT_LENGTH_MAX: Final = 4096
_HEADER_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# These describe the transfer itself: a wrong one would break the server, not the answer.
_HEADERS_REFUSED: Final = frozenset({"content-length", "transfer-encoding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The parsed script; a default changes nothing about the answer. `KEYS` says what each field does."""

    latency_ms: int = 0
    tokens_per_second: float = 0.0
    output_tokens: int | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    prompt_tokens: int | None = None
    status: int | None = None
    error_code: str | None = None
    malformed: str | None = None
    content_type: str | None = None
    no_usage: bool = False
    background_polls: int = 1
    cut_after: int | None = None
    eof_after: int | None = None
    error_after: int | None = None
    hang: str | int | None = None
    echo_headers: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def generates(self) -> bool:
        """Whether anything is generated; an error or a web page takes the answer's place otherwise."""
        return self.status is None and self.malformed != "html"


KEYS: Final[Mapping[str, str]] = {
    "latency_ms": "milliseconds before the first byte",
    "tokens_per_second": "pace of a stream",
    "output_tokens": "tokens of text per choice",
    "cached_tokens": "reported cached input",
    "reasoning_tokens": "reasoning per choice, counted and never shown",
    "prompt_tokens": "reported input",
    "status": "answer this error, 307 to 599; 200: an error that says it is a success",
    "error_code": "the code of that error, or of the one that error_after sends",
    "malformed": "'json': half of the JSON, or a stream's first event broken; 'html': a web page",
    "content_type": "the answer's content type",
    "no_usage": "1: leave the usage out",
    "background_polls": "how often a response in the background is found unfinished",
    "cut_after": "drop the connection after N content chunks; a plain answer after half of its body",
    "eof_after": "end a stream without [DONE] after N content chunks",
    "error_after": "send an error event after N content chunks, and end the stream",
    "hang": "'before' the first byte, or after N content chunks; a plain answer after half of its body",
    "echo_headers": "1: answer with the request's headers as JSON",
    "header.<name>": "one more answer header",
}
DEFAULT: Final = Script()


def read_script(model: str, header: str | None) -> tuple[str, Script]:
    """Return the model's name without a script, and the script of *model* and *header* merged; the header wins.

    Raises Refusal (400, with the list of keys) for an unknown key or a value that is not allowed.
    """
    if header is None and ";" not in model:
        return model, DEFAULT
    if len(model) + len(header or "") > _SCRIPT_LENGTH_MAX:
        raise _bad_script("x-simulator", f"it is longer than {_SCRIPT_LENGTH_MAX} characters")
    return _read_script(model, header)


@lru_cache(maxsize=1024)
def _read_script(model: str, header: str | None) -> tuple[str, Script]:
    name, _, tail = model.partition(";")
    values, headers = _read_pairs("model", tail)
    header_values, header_headers = _read_pairs("x-simulator", header or "")
    return name.strip(), Script(**values | header_values, headers=headers | header_headers)


def _read_pairs(param: str, text: str) -> tuple[dict[str, Any], dict[str, str]]:
    values: dict[str, Any] = {}
    headers: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(";"))):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if key.startswith("header."):
            name = key.removeprefix("header.").lower()
            if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)) or name in _HEADERS_REFUSED:
                raise _bad_script(param, f"'{pair}' is not a header that can be set")
            headers[name] = value
        elif key not in _READERS or not equals:
            raise _bad_script(param, f"'{pair}' is not one of them")
        else:
            try:
                values[key] = _READERS[key](value)
            except ValueError as error:
                raise _bad_script(param, f"'{pair}': {error}") from None
    return values, headers


def _bad_script(param: str, reason: str) -> Refusal:
    keys = "; ".join(f"{key}=… ({meaning})" for key, meaning in KEYS.items())
    return invalid_value(param, f"This is not a simulator script: {reason}. The keys: {keys}.")


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not low <= int(text) <= high:
            raise ValueError(f"it takes a whole number from {low} to {high}")
        return int(text)

    return read


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"it takes {' or '.join(choices)}")
        return text

    return read


def _flag(text: str) -> bool:
    return _one_of("0", "1")(text) == "1"


def _pace(text: str) -> float:
    value = float(text) if re.fullmatch(r"\d{1,7}(\.\d{1,6})?", text, re.ASCII) else 0.0
    if not 0.001 <= value <= 1_000_000:
        raise ValueError("it takes a number from 0.001 to 1000000")
    return value


def _plain_text(text: str) -> str:
    if not text or not _HEADER_VALUE.fullmatch(text):
        raise ValueError("it takes text without control characters")
    return text


_TOKENS: Final = _whole(0, 1_000_000)
_ERROR_STATUS: Final = _whole(307, 599)
_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "latency_ms": _whole(0, 600_000),
    "tokens_per_second": _pace,
    "output_tokens": _TOKENS,
    "cached_tokens": _TOKENS,
    "reasoning_tokens": _TOKENS,
    "prompt_tokens": _whole(0, 1_000_000_000),
    "status": lambda text: 200 if text == "200" else _ERROR_STATUS(text),
    "error_code": _plain_text,
    "malformed": _one_of("json", "html"),
    "content_type": _plain_text,
    "no_usage": _flag,
    "background_polls": _TOKENS,
    "cut_after": _TOKENS,
    "eof_after": _TOKENS,
    "error_after": _TOKENS,
    "hang": lambda text: text if text == HANG_BEFORE else _TOKENS(text),
    "echo_headers": _flag,
}
