"""Every moment is in exactly one window, whatever clocks in the zone do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.budgets.periods import PERIODS, Period, Span, read_zone, span

SINCE = datetime(2026, 1, 15, 12, tzinfo=UTC)
ZONES = sorted(available_timezones() - {"localtime"})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(period: Period, zone: str, moment: str) -> Span:
    return span(period, zone, at(moment), since=SINCE)


@pytest.mark.parametrize(
    ("period", "zone", "moment", "starts", "ends"),
    [
        ("day", "UTC", "2026-11-22T23:59:59.999999", "2026-11-22T00:00", "2026-11-23T00:00"),
        ("day", "UTC", "2026-11-23T00:00", "2026-11-23T00:00", "2026-11-24T00:00"),
        ("week", "UTC", "2026-11-22T12:00", "2026-11-16T00:00", "2026-11-23T00:00"),
        ("month", "UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("month", "UTC", "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00"),
        # Berlin puts clocks forward on 29 March and back on 25 October 2026: days of 23 and 25 hours.
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("day", "Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("month", "Europe/Berlin", "2026-10-31T23:30", "2026-10-31T23:00", "2026-11-30T23:00"),
        # In Beirut, midnight of 29 March 2026 is skipped: the day begins at one o'clock.
        ("day", "Asia/Beirut", "2026-03-29T12:00", "2026-03-28T22:00", "2026-03-29T21:00"),
        # In Havana, 1 November 2026 has its first hour twice: it begins with the first of them.
        ("day", "America/Havana", "2026-11-01T12:00", "2026-11-01T04:00", "2026-11-02T05:00"),
        ("day", "Pacific/Kiritimati", "2026-11-22T10:00", "2026-11-22T10:00", "2026-11-23T10:00"),
        # Samoa had no 30 December 2011.
        ("day", "Pacific/Apia", "2011-12-30T09:59", "2011-12-29T10:00", "2011-12-30T10:00"),
        ("day", "Pacific/Apia", "2011-12-30T10:00", "2011-12-30T10:00", "2011-12-31T10:00"),
    ],
)
def test_a_moment_is_in_the_window_of_its_calendar(
    period: Period, zone: str, moment: str, starts: str, ends: str
) -> None:
    assert window(period, zone, moment) == Span(at(starts), at(ends))


def test_a_total_window_begins_with_the_budget_and_never_ends() -> None:
    assert window("total", "UTC", "2030-01-01T00:00") == Span(SINCE, None)
    assert Span(SINCE, None).holds(at("9999-12-31T00:00"))
    assert not Span(SINCE, None).holds(SINCE - timedelta(microseconds=1))


def test_a_window_holds_its_first_moment_and_not_the_first_of_the_next() -> None:
    day = window("day", "UTC", "2026-11-22T12:00")
    assert [day.holds(at(text)) for text in ("2026-11-22T00:00", "2026-11-22T23:59:59.999999")] == [True, True]
    assert [day.holds(at(text)) for text in ("2026-11-21T23:59:59.999999", "2026-11-23T00:00")] == [False, False]


@given(
    period=st.sampled_from([period for period in PERIODS if period != "total"]),
    zone=st.sampled_from(ZONES),
    moment=st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - as it asks
)
def test_windows_hold_their_moments_and_follow_each_other_without_a_gap(
    period: Period, zone: str, moment: datetime
) -> None:
    this = span(period, zone, moment, since=SINCE)
    assert this.holds(moment)
    assert this.ends_at is not None
    following = span(period, zone, this.ends_at, since=SINCE)
    assert following.starts_at == this.ends_at
    assert span(period, zone, this.starts_at, since=SINCE) == this
    assert span(period, zone, this.ends_at - timedelta(microseconds=1), since=SINCE) == this


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "UTC\0", "x" * 999]
)
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone"):
        read_zone(name)
