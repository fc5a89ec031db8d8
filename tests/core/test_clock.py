"""The clock answers in UTC, and its stopwatch never goes back."""

from datetime import UTC, datetime, timedelta

from app.core.clock import monotonic_seconds, utc_now


def test_now_is_aware_and_in_utc() -> None:
    assert utc_now().utcoffset() == timedelta(0)


def test_now_lies_between_the_moments_around_it() -> None:
    before = datetime.now(UTC)
    now = utc_now()

    assert before <= now <= datetime.now(UTC)


def test_the_stopwatch_never_goes_back() -> None:
    readings = [monotonic_seconds() for _ in range(1_000)]

    assert readings == sorted(readings)
