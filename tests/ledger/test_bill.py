"""The pages of a bill: each bucket is on one of them, and a cursor leads only where its own query goes."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from app.errors import InvalidRequest
from app.ledger.bill import spans_of_page
from app.ledger.spans import Span

BEGIN = datetime(2026, 11, 20, 21, 30, tzinfo=UTC)
RANGE = Span(BEGIN, datetime(2026, 11, 24, 6, tzinfo=UTC))
MIDNIGHTS = [datetime(2026, 11, day, tzinfo=UTC) for day in (21, 22, 23, 24)]
BUCKETS = [Span(begin, end) for begin, end in zip([BEGIN, *MIDNIGHTS], [*MIDNIGHTS, RANGE.end], strict=True)]


def cursor(moment: datetime) -> str:
    return "page_" + base64.urlsafe_b64encode(int(moment.timestamp()).to_bytes(8, "big")).decode()


@pytest.mark.parametrize("limit", range(1, 7))
def test_the_pages_have_each_bucket_once(limit: int) -> None:
    buckets: list[Span] = []
    page = None
    for _ in range(-(-len(BUCKETS) // limit)):
        spans, following = spans_of_page(RANGE, "day", page, limit)
        buckets += spans
        assert following == (None if buckets[-1].end == RANGE.end else cursor(buckets[-1].end))
        page = following
    assert page is None
    assert buckets == BUCKETS


def test_a_range_that_has_not_begun_has_no_buckets() -> None:
    assert spans_of_page(Span(RANGE.end, BEGIN), "day", None, 5) == ([], None)


def test_every_midnight_of_a_year_can_be_a_cursor() -> None:
    year = Span(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    midnights = [year.begin + timedelta(days=day) for day in range(1, 365)]
    assert any("-" in cursor(midnight) or "_" in cursor(midnight)[5:] for midnight in midnights)
    for midnight in midnights:
        [first], _ = spans_of_page(year, "day", cursor(midnight), 1)
        assert first.begin == midnight


@pytest.mark.parametrize(
    "page",
    [
        cursor(BEGIN),  # where the range begins, the first page does
        cursor(RANGE.end),
        cursor(MIDNIGHTS[-1] + timedelta(days=1)),
        cursor(MIDNIGHTS[0] - timedelta(days=1)),
        cursor(MIDNIGHTS[0] + timedelta(hours=1)),  # in the midst of a bucket
        "page_",
        "page_!",
        cursor(MIDNIGHTS[0])[:8] + "!" + cursor(MIDNIGHTS[0])[8:],
        "page_" + base64.urlsafe_b64encode(b"\xff" * 8).decode(),
        "page_" + base64.urlsafe_b64encode(b"\x7f" * 40).decode(),
    ],
)
def test_a_cursor_of_something_else_is_refused(page: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^Invalid value for 'page': it is not the next_page") as refused:
        spans_of_page(RANGE, "day", page, 5)
    assert refused.value.param == "page"


@pytest.mark.parametrize("begin", [MIDNIGHTS[0], MIDNIGHTS[0] - timedelta(days=1)])
def test_a_range_is_never_left_by_its_cursor(begin: datetime) -> None:
    whole = Span(begin, MIDNIGHTS[2])
    for outside in (whole.begin, whole.end):
        with pytest.raises(InvalidRequest):
            spans_of_page(whole, "day", cursor(outside), 5)
    assert spans_of_page(whole, "day", cursor(MIDNIGHTS[1]), 5) == ([Span(MIDNIGHTS[1], MIDNIGHTS[2])], None)
