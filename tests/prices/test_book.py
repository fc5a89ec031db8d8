from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import permutations
from typing import Any

import pytest

from app.prices.book import OPERATOR_SOURCE, SERVICE_TIERS, Book, Price
from app.prices.price_file import price_from_row

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def price(model: str, tier: str = "default", usd: str = "1", **fields: Any) -> Price:
    row = {"model": model, "service_tier": tier, "valid_from": "2026-01-01", "source": "test", "rates": {"input": usd}}
    return price_from_row({**row, **fields})


def dear_in_its_own_way(tier: str) -> Price:
    rates = {"default": ("1", "9"), "flex": ("2", "8"), "priority": ("3", "7")}[tier]
    return price("m", tier, rates=dict(zip(("input", "output"), rates, strict=True)))


def test_an_empty_book_knows_no_price() -> None:
    assert Book().find("gpt-4o", None, NOW) is None


def test_qualities_and_sizes_of_a_model_are_no_models() -> None:
    book = Book([price("m"), price("m/hd/1x1"), price("n/m"), price("sim-*")])
    assert book.models(NOW) == ["m", "n/m", "sim-*"]


def test_a_name_without_a_match_has_no_price() -> None:
    book = Book([price("gpt-4o"), price("sim-*")])
    assert book.find("gpt-4", None, NOW) is None
    assert book.find("gpt-4o-mini", None, NOW) is None
    assert book.find("sim", None, NOW) is None
    assert book.find("", None, NOW) is None


def test_the_exact_name_beats_the_longest_pattern_and_that_a_shorter_one() -> None:
    exact, longer, shorter, any_model = price("sim-large-1"), price("sim-large-*"), price("sim-*"), price("*")
    book = Book([any_model, shorter, longer, exact])
    assert book.find("sim-large-1", None, NOW) is exact
    assert book.find("sim-large-2", None, NOW) is longer
    assert book.find("sim-large-", None, NOW) is longer
    assert book.find("sim-small", None, NOW) is shorter
    assert book.find("gpt-4o", None, NOW) is any_model


def test_a_price_counts_from_its_first_moment_until_a_newer_one_does() -> None:
    old, new = price("m", valid_from="2026-01-01"), price("m", valid_from="2026-03-01T12:00:00+02:00")
    book = Book([new, old])
    start = datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert book.find("m", None, start - timedelta(microseconds=1)) is old
    assert book.find("m", None, start.astimezone(timezone(timedelta(hours=-8)))) is new
    assert book.find("m", None, datetime(2025, 12, 31, tzinfo=UTC)) is None


def test_what_was_looked_up_is_looked_up_anew_from_the_moment_on_at_which_a_price_begins() -> None:
    old, new = price("m"), price("m", valid_from="2026-07-01")
    book = Book([old, new])
    for at, expected in ((NOW, old), (NOW, old), (NOW + timedelta(days=60), new), (NOW, old)):
        assert book.find("m", None, at) is expected
        assert book.find_possible("m", None, at) == [expected]


def test_names_that_callers_choose_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.prices.book._REMEMBERED_MAX", 3)
    book = Book([price("m")])
    for number in range(10):
        assert book.find(f"x{number}", None, NOW) is None
        assert book.find_possible(f"x{number}", None, NOW) == []
    assert (len(book._found), len(book._possible)) == (1, 1)
    assert book.find("m", None, NOW) is not None


def test_a_pattern_counts_while_the_exact_price_is_not_yet_valid() -> None:
    later, pattern = price("sim-a", valid_from="2027-01-01"), price("sim-*")
    assert Book([later, pattern]).find("sim-a", None, NOW) is pattern


@pytest.mark.parametrize("tier", SERVICE_TIERS)
def test_each_tier_has_its_own_price(tier: str) -> None:
    prices = {name: price("m", name, str(number)) for number, name in enumerate(SERVICE_TIERS, start=1)}
    found = Book(list(prices.values())).find("m", tier, NOW)
    assert found is prices[tier]
    assert found.is_for(tier)


@pytest.mark.parametrize("tier", [None, "", "auto", "scale", "default"])
def test_what_is_processed_as_default_costs_what_default_does(tier: str | None) -> None:
    default = price("m")
    found = Book([default, price("m", "priority", "2")]).find("m", tier, NOW)
    assert found is default
    assert found.is_for(tier)


def test_fast_is_another_name_of_priority() -> None:
    priority = price("m", "priority", "2")
    found = Book([price("m"), priority, price("m", "ultrafast", "6")]).find("m", "fast", NOW)
    assert found is priority
    assert found.is_for("fast")


@pytest.mark.parametrize("tier", ["flex", "batch"])
def test_a_cheaper_tier_without_a_price_costs_what_default_does(tier: str) -> None:
    default = price("m")
    found = Book([default, price("m", "priority", "2")]).find("m", tier, NOW)
    assert found is default
    assert not found.is_for(tier)


@pytest.mark.parametrize("tier", ["ultrafast", "a-tier-of-next-year"])
def test_a_tier_without_a_price_is_not_cheaper_than_the_dearest_known(tier: str) -> None:
    priority = price("m", "priority", "2")
    found = Book([price("m", "flex", "0.5"), priority, price("m")]).find("m", tier, NOW)
    assert found is priority
    assert not found.is_for(tier)


def test_the_dearest_tier_is_found_among_the_prices_valid_now() -> None:
    default, later = price("m"), price("m", "priority", "2", valid_from="2027-01-01")
    assert Book([default, later]).find("m", "ultrafast", NOW) is default


def test_the_dearest_tier_is_judged_by_its_long_context() -> None:
    long = {"above_input_tokens": 1000, "rates": {"input": "3"}}
    default, priority = price("m", usd="1", long_context=long), price("m", "priority", "2")
    assert Book([default, priority]).find("m", "ultrafast", NOW) is default


def test_of_tiers_whose_long_contexts_cost_the_same_the_dearer_in_a_short_one_is_the_dearest() -> None:
    long = {"above_input_tokens": 1000, "rates": {"input": "3"}}
    default, priority = price("m", usd="1", long_context=long), price("m", "priority", "2", long_context=long)
    for prices in ([default, priority], [priority, default]):
        assert Book(prices).find("m", "ultrafast", NOW) is priority


def test_default_costs_what_the_dearest_tier_does_where_only_others_have_a_price() -> None:
    flex, priority = price("m", "flex", "0.5"), price("m", "priority", "2")
    assert Book([flex, priority]).find("m", None, NOW) is priority


def test_an_operators_price_beats_a_shipped_one_of_the_same_date() -> None:
    own, shipped = price("m", usd="9", source=OPERATOR_SOURCE), price("m", source="zzz")
    assert Book([own, shipped]).find("m", None, NOW) is own
    assert Book([shipped, own]).find("m", None, NOW) is own


def test_an_operators_price_counts_however_new_a_shipped_one_is() -> None:
    own, older = price("m", source=OPERATOR_SOURCE), price("m", source=OPERATOR_SOURCE, valid_from="2025-12-01")
    shipped = price("m", valid_from="2026-02-01")
    for prices in permutations([own, older, shipped]):
        assert Book(prices).find("m", None, NOW) is own


def withdrawal(model: str, tier: str = "default", **fields: Any) -> Price:
    row = {"model": model, "service_tier": tier, "valid_from": "2026-03-01", "source": OPERATOR_SOURCE}
    return price_from_row({**row, "withdrawn": True, **fields})


def test_the_newest_shipped_price_counts_from_the_moment_on_at_which_the_operators_is_withdrawn() -> None:
    own, earlier = price("m", source=OPERATOR_SOURCE), price("m", source=OPERATOR_SOURCE, valid_from="2025-11-01")
    shipped, later = price("m", valid_from="2025-12-01"), price("m", valid_from="2026-05-01")
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    for prices in permutations([own, earlier, shipped, later, withdrawal("m")]):
        book = Book(prices)
        for _ in range(2):  # the second time from what is remembered
            assert book.find("m", None, moment - timedelta(microseconds=1)) is own
            assert book.find("m", None, moment) is shipped
            assert book.find_possible("m", None, moment) == [shipped]
            assert book.find_first(("m",), None, NOW) is later


def test_a_withdrawal_of_the_same_moment_comes_after_the_price() -> None:
    own, shipped = price("m", source=OPERATOR_SOURCE), price("m", valid_from="2025-12-01")
    for prices in permutations([own, shipped, withdrawal("m", valid_from="2026-01-01")]):
        assert Book(prices).find("m", None, NOW) is shipped


def test_a_price_that_is_added_after_a_withdrawal_counts_again() -> None:
    again = price("m", source=OPERATOR_SOURCE, valid_from="2026-04-01")
    book = Book([price("m", source=OPERATOR_SOURCE), price("m"), withdrawal("m"), again])
    assert book.find("m", None, NOW) is again


def test_what_was_withdrawn_and_never_shipped_has_no_price_but_that_of_a_pattern() -> None:
    own = [price("m", source=OPERATOR_SOURCE), withdrawal("m")]
    pattern = price("*")
    assert Book(own).find("m", None, NOW) is None
    assert Book([*own, pattern]).find("m", None, NOW) is pattern


def test_a_model_whose_only_price_was_withdrawn_or_is_to_come_is_none_with_a_price() -> None:
    own = [price(model, source=OPERATOR_SOURCE) for model in ("m", "n", "o-*")]
    book = Book([*own, price("n"), *map(withdrawal, ("m", "n", "o-*")), price("p", valid_from="2026-04-01")])
    assert sorted(book.models(datetime(2026, 2, 28, tzinfo=UTC))) == ["m", "n", "o-*"]
    assert book.models(datetime(2026, 3, 1, tzinfo=UTC)) == ["n"]
    assert book.models(datetime(2026, 4, 1, tzinfo=UTC)) == ["n", "p"]


def test_a_tier_whose_price_was_withdrawn_costs_what_default_does() -> None:
    default, flex = price("m", source=OPERATOR_SOURCE), price("m", "flex", "0.5", source=OPERATOR_SOURCE)
    assert Book([default, flex, withdrawal("m", "flex")]).find("m", "flex", NOW) is default


def test_two_prices_of_an_operator_of_the_same_date_resolve_the_same_in_any_order() -> None:
    one, other = (replace(price("m", source=OPERATOR_SOURCE), id=name) for name in ("price_a", "price_b"))
    assert Book([one, other]).find("m", None, NOW) is Book([other, one]).find("m", None, NOW)


def test_equal_prices_of_two_sources_resolve_the_same_in_any_order() -> None:
    one, other = price("m", source="a"), price("m", source="b")
    assert Book([one, other]).find("m", None, NOW) is Book([other, one]).find("m", None, NOW)


@pytest.mark.parametrize("tier", [None, "", "auto"])
def test_a_request_without_a_tier_may_be_charged_by_any_that_has_a_price_now(tier: str | None) -> None:
    default, flex, priority = (dear_in_its_own_way(tier) for tier in ("default", "flex", "priority"))
    later = price("m", "ultrafast", valid_from="2027-01-01")
    possible = Book([default, flex, priority, later]).find_possible("m", tier, NOW)
    assert {of.id for of in possible} == {default.id, flex.id, priority.id}


@pytest.mark.parametrize(
    ("tier", "tiers"),
    [
        ("default", {"default"}),
        ("scale", {"default"}),
        ("flex", {"flex"}),
        ("batch", {"default"}),
        ("priority", {"priority", "default"}),
        ("fast", {"priority", "default"}),
        ("ultrafast", {"priority", "default"}),
    ],
)
def test_a_request_for_a_tier_may_be_charged_by_that_one_and_a_dear_one_as_default(tier: str, tiers: set[str]) -> None:
    book = Book([dear_in_its_own_way(tier) for tier in ("default", "flex", "priority")])
    assert {of.service_tier for of in book.find_possible("m", tier, NOW)} == tiers


@pytest.mark.parametrize("tiers", list(permutations(["default", "flex", "priority", "ultrafast"])))
def test_of_possible_prices_those_are_left_out_by_which_no_call_costs_the_most(tiers: tuple[str, ...]) -> None:
    usd = {"default": "1", "flex": "0.5", "priority": "2", "ultrafast": "2"}
    book = Book([price("m", tier, usd[tier]) for tier in tiers])
    [dearest] = book.find_possible("m", None, NOW)
    assert dearest.service_tier in ("priority", "ultrafast")


@pytest.mark.parametrize(
    "fields",
    [
        {"context_tokens_max": 1_000},
        {"output_tokens_max": 1_000},
        {"per_request_usd": "1"},
        {"long_context": {"above_input_tokens": 1_000, "rates": {"input": "9"}}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_cheaper_price_of_another_extent_stays_possible(fields: dict[str, Any]) -> None:
    cheap, dear = price("m", "flex", "0.5", **fields), price("m")
    assert {of.id for of in Book([cheap, dear]).find_possible("m", None, NOW)} == {cheap.id, dear.id}


def test_possible_prices_are_those_of_the_most_exact_match_that_has_any() -> None:
    pattern, later = price("sim-*", "flex"), price("sim-a", "priority", valid_from="2027-01-01")
    book = Book([pattern, later])
    assert book.find_possible("sim-a", None, NOW) == [pattern]
    assert book.find_possible("gpt-4o", None, NOW) == []


def test_of_several_names_the_first_counts_an_operators_price_before_it_and_one_for_every_model_last() -> None:
    anything, answered, asked = price("*"), price("m-1"), price("m")
    book = Book([anything, answered, asked])
    assert book.find_first(("m-1", "m"), None, NOW) is answered
    assert book.find_first(("m-2", "m"), None, NOW) is asked
    assert book.find_first(("m-2", "m-3"), None, NOW) is anything
    own = price("m", source=OPERATOR_SOURCE)
    assert Book([anything, answered, own]).find_first(("m-1", "m"), None, NOW) is own
    assert Book().find_first(("m-1", "m"), None, NOW) is None


def test_a_variant_is_charged_by_a_price_of_its_own_and_not_by_a_pattern_for_more_than_its_model() -> None:
    names, asked = ("m-1", "m"), ["hd/8x8"]
    model, pattern, anything = price("m"), price("m*", source=OPERATOR_SOURCE), price("*")
    book = Book([model, pattern, anything])
    assert book.find_first(("m",), None, NOW, asked) is model
    assert book.find_first(("n",), None, NOW, asked) is anything
    for own in (price("m/hd/8x8"), price("m/hd/*"), price("m/*")):
        book = Book([model, own, price("m-1"), anything])
        assert book.find_first(names, None, NOW, asked) is own
        assert book.find_first(("m",), None, NOW) is model
        standard = book.find_first(names, None, NOW, ["8x8"])
        assert standard is not None
        assert standard.model == ("m/*" if own.model == "m/*" else "m-1")


def test_what_stands_in_for_a_tier_gives_way_to_a_dearer_price_of_another_name_for_the_tier_itself() -> None:
    plain = [price("m", usd="1"), price("m", "priority", "2"), price("m", "ultrafast", "6"), price("m", "flex", "0.5")]
    dated = [price("m-20*", usd="1"), price("m-20*", "priority", "2")]
    book, names = Book([*plain, *dated]), ("m-2026-01-01", "m", "m")
    assert book.find_first(names, "ultrafast", NOW) is plain[2]
    assert book.find_first(names, "priority", NOW) is dated[1]
    assert book.find_first(names, "flex", NOW) is dated[0]  # never cheaper by it
    own = price("m-20*", usd="3", source=OPERATOR_SOURCE)
    assert Book([*plain, *dated[1:], own]).find_first(names, "flex", NOW) is own


def test_a_price_of_one_tier_of_a_name_is_not_charged_for_tiers_that_a_pattern_prices() -> None:
    shipped = [price("gpt-*", usd="2"), price("gpt-*", "priority", "4"), price("gpt-*", "flex", "1")]
    own = price("gpt-4o-1", "flex", "0.1", source=OPERATOR_SOURCE)
    book = Book([*shipped, own])
    names = ("gpt-4o-1", "gpt-4o")

    assert book.find_first(names, "flex", NOW) is own
    assert book.find_first(names, None, NOW) is shipped[0]
    assert book.find_first(names, "priority", NOW) is shipped[1]
    assert book.find_possible("gpt-4o-1", "default", NOW) == [shipped[0]]
