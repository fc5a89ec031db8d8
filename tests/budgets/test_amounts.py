"""Amounts are read exactly, or refused with what would be allowed."""

from typing import Any

import pytest
from pydantic_core import PydanticCustomError

from app.budgets.amounts import read_amount, read_limit
from app.budgets.budget import LIMIT_NANO_MAX
from app.core.money import NANO_MAX, Nano


@pytest.mark.parametrize(
    ("value", "nano"),
    [
        (0, 0),
        (12, 12 * 10**9),
        (-12, -12 * 10**9),
        ("10.50", 10_500_000_000),
        ("-0.000000001", -1),
        ("0.123456789", 123_456_789),
        ("0001.5", 1_500_000_000),
        ("-0", 0),
        (10**9, 10**18),
        (-(10**9), -(10**18)),
        ("1000000000.000000000", 10**18),
    ],
)
def test_an_amount_is_read_exactly(value: Any, nano: int) -> None:
    assert read_amount(value) == nano


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "^it must be whole dollars, or decimal dollars in quotes"),
        (1.5, "^it must be whole dollars, or decimal dollars in quotes"),
        (None, "^it must be whole dollars, or decimal dollars in quotes"),
        ([], "^it must be whole dollars, or decimal dollars in quotes"),
        ("", "^it must be decimal dollars such as"),
        (".5", "^it must be decimal dollars such as"),
        ("5.", "^it must be decimal dollars such as"),
        ("+5", "^it must be decimal dollars such as"),
        ("--5", "^it must be decimal dollars such as"),
        ("1e3", "^it must be decimal dollars such as"),
        ("1_0", "^it must be decimal dollars such as"),
        ("NaN", "^it must be decimal dollars such as"),
        (" 1", "^it must be decimal dollars such as"),
        ("1\n", "^it must be decimal dollars such as"),
        ("٣", "^it must be decimal dollars such as"),
        ("0.0000000001", "at most 10 digits before the point and 9 after it"),
        ("00000000001", "at most 10 digits before the point and 9 after it"),
        pytest.param(10**5_000, "at most 10 digits before the point", id="more digits than `str` writes"),
        pytest.param(-(10**5_000), "at most 10 digits before the point", id="as many below zero"),
        ("1000000000.000000001", "^it must be at most 1000000000 dollars$"),
        (9_999_999_999, "^it must be at most 1000000000 dollars$"),
        ("-9999999999", "^it must be at most 1000000000 dollars$"),
    ],
)
def test_what_is_no_amount_is_refused_and_says_why(value: Any, message: str) -> None:
    for read in (read_amount, read_limit):
        with pytest.raises(PydanticCustomError, match=message) as refused:
            read(value)
        assert refused.value.type == "amount"


def test_a_limit_may_be_nothing_but_not_less() -> None:
    assert read_limit(0) == read_limit("-0") == 0
    assert read_limit("0.000000001") == 1
    with pytest.raises(PydanticCustomError, match=r"^it must not be negative$"):
        read_limit("-0.000000001")


def test_several_of_the_largest_amounts_still_fit_the_database() -> None:
    assert LIMIT_NANO_MAX == 10**18
    assert Nano(9 * LIMIT_NANO_MAX) <= NANO_MAX
