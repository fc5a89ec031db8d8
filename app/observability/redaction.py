"""Takes secrets out of what is about to be written down: log lines, tracebacks, Sentry events, spans.

It errs on the side of too much. It must never raise, and never be slow on hostile text: every repeat is bounded.
"""

import re
from datetime import date
from functools import lru_cache
from typing import Any, Final

REDACTED: Final = "[redacted]"
_DEPTH_MAX: Final = 12
_CACHED_CHARACTERS_MAX: Final = 128

_NAME: Final = (
    r"(?:api|admin|access|private|secret|signing|master)[_-]?key|authorization|passwords?|passwd|pwd|secrets?|token"
    r"|cookies?|credentials?|pepper|dsn|jwt|(?:database|redis|broker|webhook)[_-]?url"
)
_SECRET_NAME: Final = re.compile(rf"(?:{_NAME})$", re.IGNORECASE)
_PATTERNS: Final = tuple(
    (needles, re.compile(pattern), replacement)
    for needles, pattern, replacement in (
        (("-----BEGIN",), r"-----BEGIN [A-Z0-9 ]{1,64}-----(?s:.*?)(?:-----END [A-Z0-9 ]{1,64}-----|\Z)", REDACTED),
        (
            (":", "="),
            r"(?i:(?P<header>(?:authorization|cookie)[\"'\\]{0,2}\s{0,2}[:=]))[^\r\n]{1,4096}",
            rf"\g<header> {REDACTED}",
        ),
        (
            (" ", "\t"),
            r"(?i:\b(?P<scheme>bearer|basic)\s{1,4})[A-Za-z0-9._~+/=-]{8,4096}",
            rf"\g<scheme> {REDACTED}",
        ),
        (("k-", "wa-"), r"(?<![A-Za-z0-9])(?:wk|wa|sk|pk|rk)-[A-Za-z0-9_-]{6,512}", REDACTED),
        (
            ("eyJ",),
            r"\beyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{4,4096}(?:\.[A-Za-z0-9_-]{0,4096})?",
            REDACTED,
        ),
        # The password of a URL ends at the last @ before white space: people forget to escape theirs.
        (("://",), r"(?P<user>://[^\s:/@\"']{0,128}:)[^\s\"'<>]{1,512}@", rf"\g<user>{REDACTED}@"),
        # `password=x`, `"token": "x"`, `'secret': 'x'`; not `invalid token: expected a number`.
        (
            ("=", ":"),
            (
                rf"(?i:(?P<name>(?:{_NAME})[\"'\\]{{0,2}}\s{{0,2}}(?:=|:(?=\s{{0,2}}[\"'\\]))\s{{0,2}}))"
                r"(?:\"[^\"]{0,4096}\"|'[^']{0,4096}'|[\"'\\]{0,2}[^\s\"'\\,;&})\]]{1,4096})"
            ),
            rf"\g<name>{REDACTED}",
        ),
    )
)
"""Needles of which a text must have one, the pattern, and what takes its place: searching for needles is cheap."""


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Tell whether a value called *name* is a secret: `api_key` and `Set-Cookie` are, `input_tokens` is not."""
    return _SECRET_NAME.search(name) is not None


def redact_text(text: str) -> str:
    """Return *text* with everything that looks like a key, a password or a token replaced by `[redacted]`."""
    # Paths and models repeat from call to call.
    return _redact_short(text) if len(text) <= _CACHED_CHARACTERS_MAX else _redact(text)


def redact_value(value: Any, depth: int = 0) -> Any:
    """Return *value*, a tree of what JSON knows, without its secrets; anything else becomes its redacted `repr`."""
    if value is None or isinstance(value, (bool, int, float, date)):
        return value
    if isinstance(value, str):
        return redact_text(value)
    if depth == _DEPTH_MAX:
        return REDACTED
    if isinstance(value, dict):
        return {
            str(name): REDACTED if is_secret_name(str(name)) else redact_value(inner, depth + 1)
            for name, inner in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact_value(inner, depth + 1) for inner in value]
    return redact_text(_describe(value))


def _redact(text: str) -> str:
    for needles, pattern, replacement in _PATTERNS:
        if any(needle in text for needle in needles):
            text = pattern.sub(replacement, text)
    return text


_redact_short: Final = lru_cache(maxsize=2048)(_redact)


def _describe(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - whatever a foreign repr does, the line must be written
        return f"<{type(value).__name__}>"
