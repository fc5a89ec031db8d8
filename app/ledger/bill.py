"""What a question about the bill is made of: which calls, when, added up by what; and its pages. Pure."""

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from app.errors import InvalidRequest
from app.ledger.spans import LENGTHS, Span, Width, floor, steps
from app.ledger.usage_sum import UsageSum

COMPLETIONS: Final = ("chat.completions", "completions", "realtime", "responses", "responses.compact")
EMBEDDINGS: Final = ("embeddings",)
MODERATIONS: Final = ("moderations",)
SPEECHES: Final = ("audio.speech",)
TRANSCRIPTIONS: Final = ("audio.transcriptions", "audio.translations", "realtime.transcription")
IMAGE_SOURCES: Final = {
    "images.generations": "image.generation",
    "images.edits": "image.edit",
    "images.variations": "image.variation",
}
"""The operations on images, and what the usage API calls them."""
BATCH_TIER: Final = "batch"
"""The service tier of calls that were made in a batch."""

_PAGE_PREFIX: Final = "page_"
_PAGE_BYTES: Final = 8


class BillQuery(NamedTuple):
    """Which entries, and what their sums are kept apart by."""

    begin: datetime
    end: datetime | None
    """Exclusive; None for the end of the minute, hour or day that it is now."""
    width: Width
    operations: Sequence[str] | None = None
    """None for all of them."""
    filters: Mapping[str, Sequence[str]] = {}
    """For a dimension of the rollups, the values that count; a dimension that is not there is not looked at."""
    is_batch: bool | None = None
    group_by: Sequence[str] = ()
    """Names as the API has them."""


class Group(NamedTuple):
    """One sum in one bucket."""

    starts_at: datetime
    """Of the minute, hour or day, even where the bucket has only a part of it."""
    key: dict[str, Any]
    """For each name in `group_by`, its value."""
    total: UsageSum


class Bucket(NamedTuple):
    """A minute, hour or day of the range that was asked for, or the part of one at either end of it."""

    span: Span
    groups: list[Group]


class BillPage(NamedTuple):
    """Some buckets, one after the other, and the cursor of those that follow."""

    buckets: list[Bucket]
    next_page: str | None


def spans_of_page(span: Span, width: Width, page: str | None, limit: int) -> tuple[list[Span], str | None]:
    """Return the first *limit* buckets of *span*, or those from the cursor *page* on, and the cursor of the next ones.

    Raises InvalidRequest when *page* is no cursor of these buckets.
    """
    rest = span if page is None else Span(_begin_of(page, span, width), span.end)
    spans = list(islice(steps(rest, width), limit))
    if not spans or spans[-1].end == span.end:
        return spans, None
    return spans, cursor_of(spans[-1].end)


def whole_spans(spans: Sequence[Span], groups: Sequence[Group], width: Width) -> list[Span]:
    """Return the first of *spans*: those that the first *groups* have all of, or else up to the first with any."""
    cut = max(groups[-1].starts_at, groups[0].starts_at + LENGTHS[width])
    return [span for span in spans if floor(span.begin, width) < cut]


def cursor_of(begin: datetime) -> str:
    """Return the cursor of the buckets from *begin* on."""
    seconds = int(begin.timestamp())
    return _PAGE_PREFIX + base64.urlsafe_b64encode(seconds.to_bytes(_PAGE_BYTES, "big")).decode()


def _begin_of(page: str, span: Span, width: Width) -> datetime:
    refusal = InvalidRequest("Invalid value for 'page': it is not the next_page of this query.", param="page")
    try:
        packed = base64.b64decode(page.removeprefix(_PAGE_PREFIX), altchars=b"-_", validate=True)
        begin = datetime.fromtimestamp(int.from_bytes(packed, "big"), UTC)
    except (ValueError, OverflowError, OSError):  # not base64, or not a moment
        raise refusal from None
    if not span.begin < begin < span.end or begin != floor(begin, width):
        raise refusal
    return begin
