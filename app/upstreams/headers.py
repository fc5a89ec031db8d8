"""Which headers cross Weir, in both directions: allow-lists, so that no credential or cookie ever does."""

from collections.abc import Iterable, Mapping
from typing import Final

from multidict import CIMultiDict

_TO_UPSTREAM: Final = frozenset(
    {b"accept", b"content-type", b"openai-beta", b"range", b"user-agent", b"x-client-request-id", b"x-simulator"}
)
_TO_UPSTREAM_PREFIX: Final = b"x-stainless-"

_TO_CALLER: Final = frozenset(
    {
        b"accept-ranges",
        b"content-disposition",
        b"content-language",
        b"content-range",
        b"content-type",
        b"etag",
        b"last-modified",
        b"openai-model",
        b"openai-poll-after-ms",
        b"openai-processing-ms",
        b"openai-version",
        b"retry-after",
        b"retry-after-ms",
        b"x-should-retry",
    }
)
_TO_CALLER_PREFIX: Final = b"x-ratelimit-"


def to_upstream(
    headers: Iterable[tuple[bytes, bytes]], credential: Mapping[str, str], request_id: str
) -> CIMultiDict[str]:
    """Return what goes upstream of a caller's raw headers, with the upstream's *credential* and our request id.

    An answer is asked for uncompressed: its usage must be read, and its bytes relayed as they came.
    """
    result: CIMultiDict[str] = CIMultiDict()
    for name, value in headers:
        if name in _TO_UPSTREAM or name.startswith(_TO_UPSTREAM_PREFIX):
            result.add(name.decode("latin-1"), value.decode(errors="replace"))
    result.update(credential)
    result["accept-encoding"] = "identity"
    result["x-request-id"] = request_id
    return result


def to_caller(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return what the caller may see of an upstream's raw headers, whose names are in lower case."""
    return [header for header in headers if header[0] in _TO_CALLER or header[0].startswith(_TO_CALLER_PREFIX)]
