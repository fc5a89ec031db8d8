"""The comparison and its table, without any server."""

import json
from decimal import Decimal
from typing import Any

import pytest

from app.core.money import Nano
from app.reconciliation.comparison import DayCheck, Line, compare
from app.reconciliation.costs_page import read_costs_page
from app.reconciliation.table import table
from tests.reconciliation.conftest import DAY, MIDNIGHT, page

BEGIN = int(MIDNIGHT.timestamp())


def check(*lines: Line, tolerance: int = 0) -> DayCheck:
    return DayCheck(DAY, "openai", MIDNIGHT, list(lines), Nano(tolerance))


def test_the_line_items_of_a_model_are_added_up() -> None:
    provider = [("a, input", Decimal("0.1")), ("a, output", Decimal("0.2")), ("b", Decimal("0.4"))]
    assert compare({"a": 300_000_000, "c": 5}, provider) == [
        Line("", Nano(0), Nano(0)),
        Line("a", Nano(300_000_000), Nano(300_000_000)),
        Line("b", Nano(0), Nano(400_000_000)),
        Line("c", Nano(5), Nano(0)),
    ]


@pytest.mark.parametrize(
    ("amounts", "nano"),
    [
        (["0.060000000000000005"], 60_000_000),
        (["0.06", "-0.06"], 0),
        (["0.0000000004", "0.0000000004"], 1),
        (["1e-9"], 1),
        (["9007199.254740993"], 9_007_199_254_740_993),
    ],
)
def test_amounts_are_exact_and_rounded_once_to_the_nearest_nano_dollar(amounts: list[str], nano: int) -> None:
    items = ",".join(
        f'{{"line_item": "a, {number}", "amount": {{"value": {amount}, "currency": "usd"}}}}'
        for number, amount in enumerate(amounts)
    )
    text = json.dumps(page([])).replace('"results": []', f'"results": [{items}]')
    assert compare({}, read_costs_page(text, BEGIN).costs)[1:] == [Line("a", Nano(0), Nano(nano))]


def test_differences_beyond_the_tolerance_come_largest_first() -> None:
    small, large, equal = Line("s", Nano(0), Nano(12)), Line("l", Nano(30), Nano(0)), Line("e", Nano(9), Nano(19))
    found = check(small, large, equal, tolerance=10)
    assert found.beyond_tolerance == [large, small]
    assert found.total == Line("total", Nano(39), Nano(31))
    assert (large.difference_nano, small.difference_nano) == (-30, 12)


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in page([("a", 1)]).items() if key != name}


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("<html>", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        (json.dumps(page([("a", float("nan"))])), "it is not JSON"),
        ("[]", "the answer: Input should be"),
        (json.dumps(_without("data")), "data: Field required"),
        (json.dumps(_without("has_more")), "has_more: Field required"),
        (json.dumps({**page([]), "object": "list"}), "object: Input should be 'page'"),
        (json.dumps({**page([]), "has_more": True}), "there is more, and no next_page"),
        (json.dumps(page([("a", "a lot")])), "data.0.results.0.amount.value: Input should be a valid decimal"),
        (json.dumps(page([("a", None)])), "data.0.results.0.amount.value: Decimal input should be"),
        (
            json.dumps(page([("a", 0)])).replace('"value": 0', '"value": 1e999999999'),
            "less than or equal to 1000000000",
        ),
        (json.dumps(page([("a", 1)])).replace("usd", "eur"), "data.0.results.0.amount.currency: Input should be 'usd'"),
        (json.dumps(page([("a\x1b[2J", 1)])), "data.0.results.0.line_item: String should match"),
        (json.dumps(page([("a" * 501, 1)])), "data.0.results.0.line_item: String should have at most 500 characters"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused_in_one_line(answer: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        read_costs_page(answer, BEGIN)
    assert complaint in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_costs_of_another_day_are_refused() -> None:
    with pytest.raises(ValueError, match=f"a bucket from {BEGIN} on, and {BEGIN + 86_400} was asked for"):
        read_costs_page(json.dumps(page([])), BEGIN + 86_400)


def test_costs_without_a_line_item_are_kept() -> None:
    assert read_costs_page(json.dumps(page([(None, 2)])), BEGIN).costs == [("", Decimal(2))]


def test_the_table_shows_every_line_item_in_dollars() -> None:
    lines = [Line("", Nano(0), Nano(0)), Line("a model", Nano(1_500_000_000), Nano(12_000_000_001))]
    assert table(check(*lines, tolerance=10_000_000)).splitlines() == [
        "Costs of openai on 2031-05-10, in UTC and dollars",
        "",
        "line item       ledger      provider     difference",
        "a model    1.500000000  12.000000001  +10.500000001",
        "total      1.500000000  12.000000001  +10.500000001",
        "",
        "1 line item differs by more than 0.01.",
    ]


def test_the_table_names_costs_without_a_name_and_counts_what_differs() -> None:
    lines = [Line("", Nano(0), Nano(1)), Line("a", Nano(2), Nano(0)), Line("b", Nano(3), Nano(3))]
    text = table(check(*lines))
    assert "(no name)  0.000000000  0.000000001  +0.000000001" in text
    assert "a          0.000000002  0.000000000  -0.000000002" in text
    assert text.endswith("2 line items differ by more than 0.")
    assert table(check(*lines, tolerance=2)).endswith("No line item differs by more than 0.000000002.")
