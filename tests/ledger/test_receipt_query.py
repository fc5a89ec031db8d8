"""Which attempt a page of receipts ends with, and what several entries of one attempt amount to."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.core.ids import new_uuid7
from app.errors import InvalidRequest
from app.ledger.receipt_query import ReceiptQuery, attempt_of, first_id, folded, only_attempt
from tests.ledger.conftest import make_entry

MOMENT = datetime(2026, 11, 22, 12, 0, 0, 123_000, UTC)
ATTEMPT = UUID("019aab01-0000-7000-8000-000000000001")


def test_the_first_id_of_a_millisecond_is_before_all_of_it_and_after_all_before_it() -> None:
    unix_ms = int(MOMENT.timestamp() * 1_000)
    assert first_id(MOMENT).int >> 80 == unix_ms
    assert first_id(MOMENT) < new_uuid7(unix_ms) < first_id(MOMENT + timedelta(milliseconds=1))
    assert new_uuid7(unix_ms - 1) < first_id(MOMENT)
    assert first_id(datetime(1969, 12, 31, tzinfo=UTC)) == UUID(int=0)
    assert first_id(datetime(1970, 1, 1, tzinfo=UTC)) == UUID(int=0)


def test_a_page_is_the_newest_receipts_first_unless_asked_otherwise() -> None:
    assert (ReceiptQuery().limit, ReceiptQuery().newest_first, ReceiptQuery().after) == (20, True, None)


def test_an_attempt_is_told_from_a_request() -> None:
    assert attempt_of(str(ATTEMPT)) == ATTEMPT
    assert attempt_of("req_1") is None


def test_a_request_names_its_attempt_where_it_has_only_one() -> None:
    assert only_attempt([ATTEMPT]) == ATTEMPT
    for ids, message in (([], "there is no such attempt"), ([ATTEMPT] * 2, "several attempts have this request id; ")):
        with pytest.raises(InvalidRequest, match=f"^Invalid value for 'after': {message}") as refused:
            only_attempt(ids)
        assert refused.value.param == "after"


def test_an_attempt_is_its_correction_at_the_sum_whichever_comes_first() -> None:
    swept = make_entry(ending="orphaned", outcome="process_died", cost_nano=9_000, flags=("orphaned",))
    correction = swept._replace(ending="settled", outcome="completed", cost_nano=-4_000, flags=("correction",))  # type: ignore[arg-type]
    for entries in ([swept, correction], [correction, swept]):
        assert folded(entries) == correction._replace(cost_nano=5_000)  # type: ignore[arg-type]
    assert folded([swept]) == swept
