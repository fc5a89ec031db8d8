"""Money keeps every nano-dollar."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.money import NANO_MAX, NANO_PER_USD, Nano, nano_from_usd, usd_text

amounts = st.integers(-NANO_MAX, NANO_MAX).map(Nano)
dollars = st.decimals(-1_000_000, 1_000_000, places=12)


@given(amounts)
def test_an_amount_survives_being_written_and_read(nano: Nano) -> None:
    assert nano_from_usd(Decimal(usd_text(nano))) == nano


@given(amounts)
def test_the_text_is_the_exact_amount_in_plain_decimals(nano: Nano) -> None:
    text = usd_text(nano)

    assert Decimal(text).scaleb(9) == nano
    assert "E" not in text
    assert "." not in text or not text.endswith("0")


@given(dollars)
def test_fractions_of_a_nano_dollar_are_rounded_up_by_less_than_one(usd: Decimal) -> None:
    excess = nano_from_usd(usd) - usd * NANO_PER_USD

    assert 0 <= excess < 1


@given(dollars, dollars)
def test_more_dollars_are_never_fewer_nano_dollars(one: Decimal, other: Decimal) -> None:
    assert nano_from_usd(min(one, other)) <= nano_from_usd(max(one, other))


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0"), (1, "0.000000001"), (1_250_000, "0.00125"), (3_000_000_000, "3"), (-500_000_000, "-0.5")],
)
def test_amounts_read_as_people_write_them(nano: int, text: str) -> None:
    assert usd_text(Nano(nano)) == text


def test_the_smallest_cost_is_never_nothing() -> None:
    assert nano_from_usd(Decimal("1e-30")) == 1


@pytest.mark.parametrize("usd", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_not_a_finite_number_is_refused(usd: str) -> None:
    with pytest.raises(ValueError, match="finite"):
        nano_from_usd(Decimal(usd))


def test_the_largest_amount_fits_and_one_more_does_not() -> None:
    largest = Decimal(NANO_MAX).scaleb(-9)

    assert nano_from_usd(largest) == NANO_MAX
    assert nano_from_usd(-largest) == -NANO_MAX
    for usd in (largest + Decimal("1e-9"), -largest - Decimal("1e-9"), Decimal("1e40")):
        with pytest.raises(ValueError, match="at most 9223372036"):
            nano_from_usd(usd)
