"""The promise of a ceiling, for every price that is shipped: no call within its bound settles for more."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.db import Database
from app.core.money import NANO_MAX, Nano
from app.prices.book import OPERATOR_SOURCE, Book, Price
from app.prices.price_file import parse_prices, price_from_row
from app.prices.service import _SHIPPED, CONTEXT_TOKENS_DEFAULT, OUTPUT_TOKENS_DEFAULT, Bound, PriceService
from app.prices.usage import Usage

NOW = datetime(2026, 12, 1, tzinfo=UTC)
_, PRICES = parse_prices(_SHIPPED.read_bytes())
MODELS = sorted({price.model.replace("*", "25-01-01") for price in PRICES})
ANSWERED: dict[str | None, tuple[str | None, ...]] = {
    None: (None, "default", "flex", "priority", "ultrafast", "scale"),
    "auto": (None, "default", "flex", "priority", "ultrafast", "scale"),
    "default": (None, "default"),
    "flex": ("flex",),
    "priority": ("priority", "default", None),
    "ultrafast": ("ultrafast", "default"),
    "batch": ("batch",),
    "tier-of-next-year": ("tier-of-next-year", "default"),
}
"""The tiers that an upstream may answer with, by the one that was asked for."""


def service_with(*prices: Price) -> PriceService:
    service = PriceService(cast("Database", None))
    service._book = Book(prices)
    return service


SERVICE = service_with(*PRICES)


def price(model: str = "m", tier: str = "default", **fields: Any) -> Price:
    row = {"model": model, "service_tier": tier, "valid_from": "2026-01-01", "source": "test", "rates": {"input": "1"}}
    return price_from_row({**row, **fields})


bounds = st.builds(
    Bound,
    input_tokens=st.integers(0, 400_000),
    output_tokens=st.none() | st.integers(1, 100_000),
    choices=st.integers(1, 5),
    predicted_tokens=st.just(0) | st.integers(0, 5_000),
    units=st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 9_000)).map(
        lambda units: Usage(web_searches=units[0], images=units[1], characters=units[2])
    ),
    fills_context=st.booleans(),
    hears=st.booleans(),
    sees=st.booleans(),
    speaks=st.booleans(),
    draws=st.booleans(),
    keeps_cache=st.booleans(),
    inputs=st.integers(1, 3),
    is_unpriced=st.just(False),
).map(lambda bound: bound._replace(draws=bound.draws and not bound.speaks))


@st.composite
def usages(draw: st.DrawFn, bound: Bound, found: Price) -> Usage:
    """Any usage that an upstream can truly report for a call within *bound*: each token is one thing."""

    def up_to(most: int, extreme: bool = True) -> int:
        return draw(st.just(most) | st.integers(0, most)) if extreme else draw(st.integers(0, most))

    context = bound.inputs * (found.context_tokens_max or CONTEXT_TOKENS_DEFAULT)
    input_tokens = up_to(context if bound.fills_context else min(context, bound.input_tokens))
    left = input_tokens
    parts: dict[str, int] = {}
    for name, is_possible in (
        ("audio", bound.hears),
        ("cached_audio", bound.hears),
        ("image", bound.sees),
        ("cached_image", bound.sees),
        ("written_12h", bound.keeps_cache),
        ("written", True),
        ("cached", True),
    ):
        parts[name] = up_to(left) if is_possible else 0
        left -= parts[name]
    named = bound.output_tokens if bound.output_tokens is not None else found.output_tokens_max or OUTPUT_TOKENS_DEFAULT
    output_tokens = up_to(bound.choices * (named + bound.predicted_tokens))
    return Usage(
        input_tokens=input_tokens,
        cached_input_tokens=parts["cached"] + parts["cached_audio"] + parts["cached_image"],
        cache_write_tokens=parts["written"] + parts["written_12h"],
        cache_write_12h_tokens=parts["written_12h"],
        input_audio_tokens=parts["audio"] + parts["cached_audio"],
        cached_input_audio_tokens=parts["cached_audio"],
        input_image_tokens=parts["image"] + parts["cached_image"],
        cached_input_image_tokens=parts["cached_image"],
        output_tokens=output_tokens,
        reasoning_tokens=up_to(output_tokens),
        output_audio_tokens=up_to(output_tokens) if bound.speaks else 0,
        output_image_tokens=up_to(output_tokens) if bound.draws else 0,
        web_searches=up_to(bound.units.web_searches),
        images=up_to(bound.units.images),
        characters=up_to(bound.units.characters),
    )


@pytest.mark.parametrize("tier", ANSWERED, ids=str)
@given(data=st.data())
@settings(max_examples=75)
def test_no_call_within_its_bound_costs_more_than_its_ceiling(tier: str | None, data: st.DataObject) -> None:
    model = data.draw(st.sampled_from(MODELS))
    bound = data.draw(bounds)
    answered = data.draw(st.sampled_from(ANSWERED[tier]))
    found = SERVICE._book.find(model, answered, NOW)
    assert found is not None
    usage = data.draw(usages(bound, found))

    charge = SERVICE.charge((model,), answered, usage, NOW)

    assert charge.cost <= SERVICE.ceilings(model, tier, bound, NOW).most().nano


@pytest.mark.parametrize("model", MODELS)
def test_every_shipped_price_bounds_the_dearest_call_that_its_bound_allows(model: str) -> None:
    """Every model, and not only those that were drawn: each kind of call with all of its tokens of the dearest kind."""
    for tier, answers in ANSWERED.items():
        for bound in (Bound(100_000, 1_000), Bound(300_000, 1_000, 2), Bound(9_000, None, hears=True, speaks=True)):
            ceiling = SERVICE.ceilings(model, tier, bound, NOW).most()
            for answered in answers:
                found = SERVICE._book.find(model, answered, NOW)
                assert found is not None
                tokens = min(bound.input_tokens, found.context_tokens_max or bound.input_tokens)
                out = bound.choices * (bound.output_tokens or found.output_tokens_max or OUTPUT_TOKENS_DEFAULT)
                base = Usage(input_tokens=tokens, output_tokens=out)
                kinds = [base, base._replace(cache_write_tokens=tokens), base._replace(cached_input_tokens=tokens)]
                if bound.hears:
                    kinds.append(base._replace(input_audio_tokens=tokens, output_audio_tokens=out))
                for usage in kinds:
                    assert SERVICE.charge((model,), answered, usage, NOW).cost <= ceiling.nano, (tier, answered, usage)


@given(
    model=st.sampled_from(MODELS),
    tier=st.sampled_from(list(ANSWERED)),
    bound=bounds,
    nano=st.integers(0, 10**10) | st.integers(0, 10**12),
)
@settings(max_examples=200)
def test_the_output_that_fits_a_limit_is_the_most_that_does(
    model: str, tier: str | None, bound: Bound, nano: int
) -> None:
    limit = Nano(nano)

    def ceiling(output_tokens: int) -> int:
        return SERVICE.ceilings(model, tier, bound._replace(output_tokens=output_tokens), NOW).most().nano

    tokens = SERVICE.ceilings(model, tier, bound, NOW).output_tokens_within(limit)

    assert tokens >= 0
    assert SERVICE.ceilings(model, tier, bound, NOW).with_maximum(tokens) == ceiling(tokens)
    if bound.output_tokens is not None:
        assert tokens <= bound.output_tokens
    if ceiling(0) > limit:
        assert tokens == 0
        return
    assert ceiling(tokens) <= limit
    possible = SERVICE._book.find_possible(model, tier, NOW)
    named = [bound.output_tokens or found.output_tokens_max or OUTPUT_TOKENS_DEFAULT for found in possible]
    assert tokens == min(named) or ceiling(tokens + 1) > limit


def test_a_plain_call_is_bounded_by_little_more_than_it_can_cost() -> None:
    # 1,000 tokens in, 500 out: 0.00015 + 0.0003 dollars by default, and 0.00025 + 0.0005 in the priority tier.
    bound = Bound(1_000, 500)

    assert SERVICE.ceilings("gpt-4o-mini", "default", bound, NOW).most().nano == 450_000
    assert SERVICE.ceilings("gpt-4o-mini", "flex", bound, NOW).most().nano == 450_000
    assert SERVICE.ceilings("gpt-4o-mini", "priority", bound, NOW).most().nano == 750_000


@pytest.mark.parametrize("tier", [None, "", "auto"])
def test_a_call_that_leaves_its_tier_to_the_upstream_is_bounded_by_the_dearest(tier: str | None) -> None:
    ceiling = SERVICE.ceilings("gpt-4o-mini", tier, Bound(1_000, 500), NOW).most()

    assert ceiling.nano == 750_000
    assert ceiling.price_id is not None
    assert ceiling.price_id.startswith("gpt-4o-mini/priority/")


def test_each_choice_has_its_own_output_and_the_input_is_billed_once() -> None:
    one, four = (SERVICE.ceilings("gpt-4o-mini", "default", Bound(1_000, 500, n), NOW).most().nano for n in (1, 4))

    assert four - one == 3 * 300_000


def test_a_call_without_a_maximum_is_bounded_by_its_model_and_else_by_a_default() -> None:
    service = service_with(price(), price("with-maximum", output_tokens_max=100))

    assert service.ceilings("m", "default", Bound(0, None), NOW).most().nano == OUTPUT_TOKENS_DEFAULT * 1_000
    assert service.ceilings("with-maximum", "default", Bound(0, None), NOW).most().nano == 100 * 1_000
    assert service.ceilings("with-maximum", "default", Bound(0, 0), NOW).most().nano == 0


def test_input_that_cannot_fit_into_the_model_is_not_held_against_a_call() -> None:
    service = service_with(price(context_tokens_max=1_000), price("boundless"))

    assert service.ceilings("m", "default", Bound(5_000, 0), NOW).most().nano == 1_000 * 1_000
    assert service.ceilings("m", "default", Bound(10, 0, fills_context=True), NOW).most().nano == 1_000 * 1_000
    boundless = service.ceilings("boundless", "default", Bound(10, 0, fills_context=True), NOW).most().nano
    assert boundless == CONTEXT_TOKENS_DEFAULT * 1_000


def test_a_predicted_output_may_be_billed_beside_the_maximum() -> None:
    service = service_with(price())
    bound = Bound(0, 100, predicted_tokens=50)

    assert service.ceilings("m", "default", bound, NOW).most().nano == 150 * 1_000
    assert service.ceilings("m", "default", bound, NOW).output_tokens_within(Nano(70 * 1_000)) == 20
    assert service.ceilings("m", "default", bound, NOW).output_tokens_within(Nano(40 * 1_000)) == 0


def test_a_search_and_the_fee_of_a_request_are_part_of_the_ceiling() -> None:
    service = service_with(price(per_unit_usd={"web_searches": "0.01"}, per_request_usd="0.025"))

    assert service.ceilings("m", "default", Bound(0, 0, units=Usage(web_searches=2)), NOW).most().nano == 45_000_000


def test_a_model_without_a_price_has_no_ceiling_and_every_output_fits() -> None:
    service = service_with()

    assert service.ceilings("m", None, Bound(10, 10), NOW).most() == (0, None)
    assert service.ceilings("m", None, Bound(10, 10), NOW).output_tokens_within(Nano(0)) == 10
    assert service.ceilings("m", None, Bound(10, None), NOW).output_tokens_within(Nano(0)) == OUTPUT_TOKENS_DEFAULT


def test_an_absurd_ceiling_still_fits_the_database() -> None:
    service = service_with(price(rates={"input": "999999999"}))

    assert service.ceilings("m", None, Bound(10**15, 10**7, 128), NOW).most().nano == NANO_MAX


def test_a_price_for_every_model_bounds_the_unpriced_and_charges_no_other() -> None:
    anything = price("*", rates={"input": "100"})
    service = service_with(anything, price("asked"))

    assert service.ceilings("unheard-of", None, Bound(1, 0), NOW).most() == (100_000, anything.id)
    assert service.charge(("unheard-of-1", "unheard-of"), None, Usage(input_tokens=1), NOW).price is anything
    # An upstream may answer with a name that nobody has priced.
    assert service.charge(("unheard-of-1", "asked"), None, Usage(input_tokens=1), NOW).cost == 1_000


def test_an_operators_price_counts_by_either_name_and_a_shipped_one_only_without_it() -> None:
    own = price("alias", rates={"input": "7"}, source=OPERATOR_SOURCE)
    service = service_with(own, price("alias-2025-01-01"), price("other-2025-01-01"), price("other"))

    assert service.charge(("alias-2025-01-01", "alias"), None, Usage(input_tokens=1), NOW).price is own
    answered = service.charge(("other-2025-01-01", "other"), None, Usage(input_tokens=1), NOW).price
    assert answered is not None
    assert answered.model == "other-2025-01-01"
