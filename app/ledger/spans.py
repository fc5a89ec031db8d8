"""Stretches of time in UTC, and the minutes, hours and days that cover them. Pure, exact."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple

Width = Literal["minute", "hour", "day"]

LENGTHS: Final[dict[Width, timedelta]] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Span(NamedTuple):
    """From `begin`, inclusive, to `end`, exclusive."""

    begin: datetime
    end: datetime


class Piece(NamedTuple):
    """Whole minutes, hours or days; or, where `width` is None, a stretch that holds no whole minute."""

    width: Width | None
    span: Span


def floor(moment: datetime, width: Width) -> datetime:
    """Return the begin of the minute, hour or day that *moment* is in."""
    return _EPOCH + (moment - _EPOCH) // LENGTHS[width] * LENGTHS[width]


def ceiling(moment: datetime, width: Width) -> datetime:
    """Return the first begin of a minute, hour or day that is not before *moment*."""
    return _EPOCH - (_EPOCH - moment) // LENGTHS[width] * LENGTHS[width]


def aligned(spans: Iterable[Span], width: Width) -> list[Span]:
    """Return the whole minutes, hours or days that *spans* are in, oldest first, neighbours joined."""
    found: list[Span] = []
    for begin, end in sorted((floor(span.begin, width), ceiling(span.end, width)) for span in spans):
        if found and begin <= found[-1].end:
            found[-1] = Span(found[-1].begin, max(end, found[-1].end))
        else:
            found.append(Span(begin, end))
    return found


def steps(span: Span, width: Width) -> Iterator[Span]:
    """Yield *span* cut at every begin of a minute, hour or day; the first and the last may be parts of one."""
    begin = span.begin
    while begin < span.end:
        end = min(floor(begin, width) + LENGTHS[width], span.end)
        yield Span(begin, end)
        begin = end


def cover(span: Span, widths: Sequence[Width]) -> list[Piece]:
    """Return pieces that make up *span* exactly, in order: as few as *widths*, widest first, allow."""
    if span.begin >= span.end:
        return []
    if not widths:
        return [Piece(None, span)]
    width, *narrower = widths
    inner = Span(ceiling(span.begin, width), floor(span.end, width))
    if inner.begin >= inner.end:
        return cover(span, narrower)
    before, after = Span(span.begin, inner.begin), Span(inner.end, span.end)
    return [*cover(before, narrower), Piece(width, inner), *cover(after, narrower)]
