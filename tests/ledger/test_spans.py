"""Spans are covered exactly: nothing is left out, nothing is in two pieces."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.ledger.spans import LENGTHS, Piece, Span, Width, aligned, ceiling, cover, floor, steps

WIDTHS: Sequence[Width] = ("day", "hour", "minute")
BEGIN = datetime(2026, 2, 27, 21, 58, 30, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.timedeltas(timedelta(days=-3), timedelta(days=50_000)).map(lambda since: EPOCH + since)
NEAR = st.integers(0, 5 * 86_400).map(lambda seconds: BEGIN + timedelta(seconds=seconds))


def test_minutes_hours_and_days_begin_where_clocks_in_utc_say_so() -> None:
    assert [floor(BEGIN, width) for width in WIDTHS] == [
        datetime(2026, 2, 27, tzinfo=UTC),
        datetime(2026, 2, 27, 21, tzinfo=UTC),
        datetime(2026, 2, 27, 21, 58, tzinfo=UTC),
    ]
    assert [ceiling(BEGIN, width) for width in WIDTHS] == [
        datetime(2026, 2, 28, tzinfo=UTC),
        datetime(2026, 2, 27, 22, tzinfo=UTC),
        datetime(2026, 2, 27, 21, 59, tzinfo=UTC),
    ]


@given(MOMENTS, st.sampled_from(WIDTHS))
def test_a_moment_is_between_its_floor_and_its_ceiling(moment: datetime, width: Width) -> None:
    below, above = floor(moment, width), ceiling(moment, width)

    assert below <= moment <= above
    assert above - below == (timedelta() if below == moment else LENGTHS[width])
    assert (below.second, below.microsecond) == (0, 0)
    assert width == "minute" or below.minute == 0
    assert width != "day" or below.hour == 0


@given(NEAR, NEAR, st.sampled_from([WIDTHS, WIDTHS[1:], WIDTHS[2:]]))
def test_a_cover_is_its_span_in_whole_pieces(begin: datetime, end: datetime, widths: Sequence[Width]) -> None:
    pieces = cover(Span(begin, end), widths)

    if begin >= end:
        assert pieces == []
        return
    assert pieces[0].span.begin == begin
    assert pieces[-1].span.end == end
    for piece, following in itertools.pairwise(pieces):
        assert piece.span.end == following.span.begin
    for piece in pieces:
        assert piece.span.begin < piece.span.end
        if piece.width is None:
            assert ceiling(piece.span.begin, "minute") >= floor(piece.span.end, "minute")  # no whole minute is in it
        else:
            assert piece.width in widths
            assert [floor(edge, piece.width) for edge in piece.span] == list(piece.span)
    assert len(pieces) <= 2 * len(widths) + 1


def test_a_cover_takes_the_widest_pieces_there_are() -> None:
    span = Span(BEGIN, datetime(2026, 3, 2, 1, 1, 1, tzinfo=UTC))

    assert [piece.width for piece in cover(span, WIDTHS)] == [None, "minute", "hour", "day", "hour", "minute", None]
    assert cover(Span(BEGIN, BEGIN + timedelta(seconds=9)), WIDTHS) == [
        Piece(None, Span(BEGIN, BEGIN + timedelta(seconds=9)))
    ]


@given(NEAR, NEAR, st.sampled_from(["day", "hour"]))
def test_steps_are_the_span_cut_at_every_begin(begin: datetime, end: datetime, width: Width) -> None:
    spans = list(steps(Span(begin, end), width))

    assert [span.begin for span in spans[1:]] == [span.end for span in spans[:-1]]
    assert all(span.begin == floor(span.begin, width) for span in spans[1:])
    assert all(timedelta() < span.end - span.begin <= LENGTHS[width] for span in spans)
    assert bool(spans) == (begin < end)
    if spans:
        assert (spans[0].begin, spans[-1].end) == (begin, end)


def test_neighbours_are_joined_and_what_is_apart_stays_apart() -> None:
    minute = LENGTHS["minute"]
    start = floor(BEGIN, "minute")
    spans = [Span(start + n * minute, start + (n + 1) * minute) for n in (3, 0, 1, 1, 5, 6, 8)]

    joined = aligned(spans, "minute")

    assert [((s.begin - start) // minute, (s.end - start) // minute) for s in joined] == [
        (0, 2),
        (3, 4),
        (5, 7),
        (8, 9),
    ]
    assert aligned(spans, "hour") == [Span(floor(start, "hour"), floor(start, "hour") + 2 * LENGTHS["hour"])]
    long = Span(start + 3 * minute, start + 9 * minute)
    assert aligned([long, spans[1], Span(start + 4 * minute, start + 5 * minute)], "minute") == [spans[1], long]
    assert aligned([], "day") == []
