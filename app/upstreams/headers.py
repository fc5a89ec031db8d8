"""Which headers cross Weir, in both directions: allow-lists, so that no credential or cookie ever does."""

from collections.abc import Iterable, Mapping
from typing import Final

from multidict import CIMultiDict

_TO_UPSTREAM: Final = frozenset(
    {"accept", "content-type", "openai-beta", "range", "user-agent", "x-client-request-id", "x-simulator"}
)
_TO_UPSTREAM_PREFIX: Final = "x-stainless-"

_TO_CALLER: Final = frozenset(
    {
        "accept-ranges",
        "content-disposition",
        "content-language",
        "content-range",
        "content-type",
        "etag",
        "last-modified",
        "openai-model",
        "openai-poll-after-ms",
        "openai-processing-ms",
        "openai-version",
        "retry-after",
        "retry-after-ms",
        "x-should-retry",
    }
)
_TO_CALLER_PREFIX: Final = "x-ratelimit-"


def to_upstream(
    headers: Iterable[tuple[bytes, bytes]], credential: Mapping[str, str], request_id: str
) -> CIMultiDict[str]:
    """Return what goes upstream of a caller's raw headers, with the upstream's *credential* and our request id.

    An answer is asked for uncompressed: its usage must be read, and its bytes relayed as they came.
    """
    result: CIMultiDict[str] = CIMultiDict()
    for raw_name, value in headers:
        name = raw_name.decode("latin-1")
        if name in _TO_UPSTREAM or name.startswith(_TO_UPSTREAM_PREFIX):
            result.add(name, value.decode(errors="replace"))
    result.update(credential)
    result["accept-encoding"] = "identity"
    result["x-request-id"] = request_id
    return result


def to_caller(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return what an upstream's answer may show to the caller, as raw ASGI headers."""
    result = []
    for name, value in headers:
        lower = name.lower()
        if lower in _TO_CALLER or lower.startswith(_TO_CALLER_PREFIX):
            # As it came: what is not UTF-8 was decoded to surrogates.
            result.append((lower.encode(), value.encode(errors="surrogateescape")))
    return result
