from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.money import Nano
from app.prices.book import Price
from app.prices.cost import ceiling_line, cost
from app.prices.price_file import price_from_row
from app.prices.rates import MILLION_DIMENSIONS, UNIT_DIMENSIONS
from app.prices.usage import Usage

LONG_ABOVE = 1_000
TOTALS = ("input_tokens", "output_tokens", *Usage._fields[Usage._fields.index("characters") :])
CACHED_PARTS = ("cached_input_audio_tokens", "cached_input_image_tokens")


def price(rates: Mapping[str, str], **fields: Any) -> Price:
    row = {"model": "m", "service_tier": "default", "valid_from": "2026-01-01", "source": "test", "rates": rates}
    return price_from_row({**row, **fields})


def ceiling(of: Price, bound: Usage) -> int:
    return ceiling_line(of, bound).at(output_total(bound))


def output_tokens_within(of: Price, bound: Usage, limit: Nano) -> int:
    return ceiling_line(of, bound).output_tokens_within(limit, output_total(bound))


def output_total(bound: Usage) -> int:
    return max(bound.output_tokens, bound.reasoning_tokens, bound.output_audio_tokens + bound.output_image_tokens)


GPT_4O = price({"input": "2.50", "cached_input": "1.25", "output": "10.00"})
REALTIME = price(
    {
        "input": "4",
        "cached_input": "0.4",
        "input_audio": "32",
        "cached_input_audio": "0.4",
        "input_image": "5",
        "cached_input_image": "0.5",
        "output": "16",
        "output_audio": "64",
    }
)

usd = st.integers(0, 10**13).map(lambda nano: f"{nano // 10**9}.{nano % 10**9:09d}")
count = st.integers(0, 5_000)
usages = st.builds(Usage, **dict.fromkeys(Usage._fields, count))


@st.composite
def prices(draw: st.DrawFn) -> Price:
    """Any price whose details may be missing, and whose long context is at least as dear."""
    rates = {"input": draw(usd)} | draw(st.dictionaries(st.sampled_from(MILLION_DIMENSIONS), usd))
    per_unit = draw(st.dictionaries(st.sampled_from(UNIT_DIMENSIONS), usd))
    fields: dict[str, Any] = {"per_unit_usd": per_unit, "per_request_usd": draw(usd)}
    if draw(st.booleans()):
        long_rates = {name: f"{int(text.partition('.')[0]) * 2 + 3}" for name, text in rates.items()}
        fields["long_context"] = {"above_input_tokens": LONG_ABOVE, "rates": long_rates}
    return price(rates, **fields)


@st.composite
def consistent(draw: st.DrawFn) -> Usage:
    """Usage that no upstream could be blamed for: built up from tokens that each are one thing."""
    cells = {name: draw(st.integers(0, 800)) for name in ("text", "cached", "written", "written_12h")}
    audio, cached_audio, image, cached_image = (draw(st.integers(0, 400)) for _ in range(4))
    plain, reasoning, spoken, drawn = (draw(st.integers(0, 800)) for _ in range(4))
    rest = {name: draw(count) for name in Usage._fields[Usage._fields.index("characters") :]}
    return Usage(
        input_tokens=sum(cells.values()) + audio + cached_audio + image + cached_image,
        cached_input_tokens=cells["cached"] + cached_audio + cached_image,
        cache_write_tokens=cells["written"] + cells["written_12h"],
        cache_write_12h_tokens=cells["written_12h"],
        input_audio_tokens=audio + cached_audio,
        cached_input_audio_tokens=cached_audio,
        input_image_tokens=image + cached_image,
        cached_input_image_tokens=cached_image,
        output_tokens=plain + reasoning + spoken + drawn,
        reasoning_tokens=reasoning,
        output_audio_tokens=spoken,
        output_image_tokens=drawn,
        **rest,
    )


def exact(of: Price, usage: Usage) -> Fraction:
    """Return what consistent usage costs, worked out token by token from the published rules, in nano-dollars."""
    long = of.long_context_above is not None and usage.input_tokens > of.long_context_above
    rates = of.long_context_rates if long and of.long_context_rates else of.rates
    bill: list[tuple[int, int]] = []
    text, cached_text = usage.input_tokens, usage.cached_input_tokens
    for own, total, cached, rate, cached_rate in (
        (
            rates.audio_has_own_rate,
            usage.input_audio_tokens,
            usage.cached_input_audio_tokens,
            rates.input_audio,
            rates.cached_input_audio,
        ),
        (
            rates.image_has_own_rate,
            usage.input_image_tokens,
            usage.cached_input_image_tokens,
            rates.input_image,
            rates.cached_input_image,
        ),
    ):
        if own:
            bill += [(total - cached, rate), (cached, cached_rate)]
            text -= total
            cached_text -= cached
    bill += [
        (text - cached_text - usage.cache_write_tokens, rates.input),
        (cached_text, rates.cached_input),
        (usage.cache_write_tokens - usage.cache_write_12h_tokens, rates.cache_write),
        (usage.cache_write_12h_tokens, rates.cache_write_12h),
        (usage.output_tokens - usage.output_audio_tokens - usage.output_image_tokens, rates.output),
        (usage.output_audio_tokens, rates.output_audio),
        (usage.output_image_tokens, rates.output_image),
        (usage.characters, rates.characters),
        (usage.images, rates.images),
        (usage.web_searches, rates.web_searches),
        (usage.web_search_previews, rates.web_search_previews),
        (usage.file_searches, rates.file_searches),
        (usage.code_interpreter_sessions, rates.code_interpreter_sessions),
    ]
    assert all(tokens >= 0 for tokens, _ in bill)
    nano = sum((Fraction(tokens * rate, 10**6) for tokens, rate in bill), Fraction(0))
    return nano + Fraction(usage.audio_seconds, 60) * Fraction(rates.audio_minutes, 10**6) + of.per_request


@given(prices(), consistent())
@settings(deadline=None)
def test_cost_is_the_exact_sum_rounded_up_once(of: Price, usage: Usage) -> None:
    assert 0 <= cost(of, usage) - exact(of, usage) < 1


@given(prices(), usages, st.sampled_from(TOTALS), st.integers(1, 3_000))
@settings(deadline=None)
def test_a_larger_total_or_fee_never_costs_less(of: Price, usage: Usage, field: str, more: int) -> None:
    assert cost(of, usage._replace(**{field: getattr(usage, field) + more})) >= cost(of, usage)


@given(prices(), consistent(), consistent())
@settings(deadline=None)
def test_further_tokens_of_any_kind_never_cost_less(of: Price, usage: Usage, further: Usage) -> None:
    both = Usage._make(a + b for a, b in zip(usage, further, strict=True))
    assert cost(of, both) >= max(cost(of, usage), cost(of, further))


@given(prices(), consistent(), consistent())
@settings(deadline=None)
def test_two_calls_cost_as_much_as_their_parts_but_for_rounding_and_fees(of: Price, a: Usage, b: Usage) -> None:
    of = replace(of, long_context_above=None, long_context_rates=None)
    both = Usage._make(x + y for x, y in zip(a, b, strict=True))
    assert 0 <= cost(of, a) + cost(of, b) - of.per_request - cost(of, both) <= 1


@given(prices(), st.builds(Usage, **dict.fromkeys(Usage._fields, st.integers(-(10**6), 10**6))))
@settings(deadline=None)
def test_contradictory_usage_is_billed_for_at_least_all_of_its_tokens_at_the_cheapest_rate(
    of: Price, usage: Usage
) -> None:
    rates = of.rates
    inputs = min(rates[: rates._fields.index("output")])
    outputs = min(rates.output, rates.output_audio, rates.output_image)
    stated = {name: max(0, tokens) for name, tokens in usage._asdict().items()}
    tokens_in = max(tokens for name, tokens in stated.items() if "input" in name or "cache" in name)
    tokens_out = max(tokens for name, tokens in stated.items() if "output" in name or "reasoning" in name)
    least = Fraction(tokens_in * inputs + tokens_out * outputs, 10**6) + of.per_request
    assert cost(of, usage) >= least >= 0


@given(prices(), consistent(), st.data())
@settings(deadline=None)
def test_no_usage_within_the_bound_costs_more_than_the_ceiling(of: Price, usage: Usage, data: st.DataObject) -> None:
    # What a client announces: its totals, and which kinds of input there are; not what will be cached.
    slack = data.draw(st.integers(0, 500))
    unannounced = {"cached_input_tokens", "cache_write_tokens", "reasoning_tokens", *CACHED_PARTS}
    bound = Usage(
        **{
            name: 0 if name in unannounced else tokens + (slack if tokens else 0)
            for name, tokens in usage._asdict().items()
        }
    )
    assert cost(of, usage) <= ceiling(of, bound)


@given(prices(), consistent(), st.integers(0, 10**16))
@settings(deadline=None)
def test_the_output_that_fits_is_the_most_whose_ceiling_is_within_the_limit(of: Price, bound: Usage, nano: int) -> None:
    # Only the total of the output may shrink, so it must not be held up by its own details.
    bound = bound._replace(reasoning_tokens=0, output_audio_tokens=0, output_image_tokens=0)
    limit = Nano(nano)
    tokens = output_tokens_within(of, bound, limit)
    assert 0 <= tokens <= bound.output_tokens
    if tokens and of.rates.output:
        assert ceiling(of, bound._replace(output_tokens=tokens)) <= limit
    if tokens < bound.output_tokens:
        assert ceiling(of, bound._replace(output_tokens=tokens + 1)) > limit


@pytest.mark.parametrize(
    ("usage", "nano"),
    [
        (Usage(), 0),
        (Usage(input_tokens=1), 2_500),
        (Usage(input_tokens=1_000_000, output_tokens=1_000_000), 12_500_000_000),
        (Usage(input_tokens=1_000, cached_input_tokens=600), 400 * 2_500 + 600 * 1_250),
        (Usage(output_tokens=100, reasoning_tokens=40), 100 * 10_000),
        (Usage(input_tokens=10, cached_input_tokens=30), 30 * 1_250),
        (Usage(output_tokens=10, reasoning_tokens=30), 30 * 10_000),
        (Usage(input_tokens=10, cached_input_tokens=-5, output_tokens=-1), 10 * 2_500),
        (Usage(input_tokens=100, input_audio_tokens=90, cached_input_tokens=80), 20 * 2_500 + 80 * 1_250),
        (Usage(input_tokens=100, cache_write_tokens=100), 100 * 2_500),
    ],
)
def test_gpt_4o_is_billed_as_openai_bills_it(usage: Usage, nano: int) -> None:
    assert cost(GPT_4O, usage) == nano


@pytest.mark.parametrize(
    ("usage", "nano"),
    [
        (Usage(input_tokens=1, cached_input_tokens=30, cache_write_tokens=20), 30 * 500 + 20 * 2_500),
        (Usage(input_tokens=1, cache_write_tokens=20, cache_write_12h_tokens=5), 15 * 2_500 + 5 * 4_000),
        (Usage(input_tokens=1, cache_write_12h_tokens=20), 20 * 4_000),
        (Usage(input_tokens=1, input_audio_tokens=30, input_image_tokens=20), 50 * 2_000),
        (Usage(input_tokens=1, input_audio_tokens=30, cached_input_audio_tokens=10), 20 * 2_000 + 10 * 500),
        (Usage(input_tokens=1, cached_input_audio_tokens=30, input_image_tokens=20), 20 * 2_000 + 30 * 500),
        (Usage(input_tokens=1, input_audio_tokens=30, cached_input_image_tokens=20), 30 * 2_000 + 20 * 500),
        (Usage(input_tokens=1, input_image_tokens=30, cached_input_image_tokens=10), 20 * 2_000 + 10 * 500),
        (
            Usage(cached_input_audio_tokens=30, cached_input_image_tokens=20, cache_write_tokens=10),
            50 * 500 + 10 * 2_500,
        ),
        (Usage(output_tokens=1, output_audio_tokens=30, output_image_tokens=20), 50 * 10_000),
    ],
)
def test_a_total_is_at_least_the_sum_of_its_parts_on_each_axis(usage: Usage, nano: int) -> None:
    of = price({"input": "2", "cached_input": "0.50", "cache_write": "2.50", "cache_write_12h": "4", "output": "10"})
    assert cost(of, usage) == nano


def test_what_is_not_said_to_be_used_is_not() -> None:
    assert set(Usage()) == {0}


def test_the_smallest_use_at_the_smallest_rate_costs_one_nano_dollar() -> None:
    assert cost(price({"input": "0.000000001"}), Usage(input_tokens=1)) == 1


def test_audio_read_from_the_cache_is_billed_as_cached_audio() -> None:
    usage = Usage(
        input_tokens=100, cached_input_tokens=70, input_audio_tokens=80, cached_input_audio_tokens=60, output_tokens=5
    )
    assert cost(REALTIME, usage) == 10 * 4_000 + 10 * 400 + 20 * 32_000 + 60 * 400 + 5 * 16_000


def test_audio_and_images_whose_only_price_is_that_of_the_cache_are_billed_apart_from_text() -> None:
    of = price({"input": "4", "cached_input": "2", "cached_input_audio": "1", "cached_input_image": "3"})
    usage = Usage(
        input_tokens=200,
        cached_input_tokens=110,
        input_audio_tokens=50,
        cached_input_audio_tokens=40,
        input_image_tokens=100,
        cached_input_image_tokens=60,
    )
    assert cost(of, usage) == 40 * 4_000 + 10 * 2_000 + (10 * 4_000 + 40 * 1_000) + (40 * 4_000 + 60 * 3_000)


def test_cached_tokens_not_said_to_be_audio_are_text_and_the_rest_of_them_is_billed_uncached() -> None:
    usage = Usage(input_tokens=100, cached_input_tokens=60, input_audio_tokens=80)
    assert cost(REALTIME, usage) == 20 * 400 + 80 * 32_000


def test_images_of_a_model_without_a_price_for_them_are_cached_like_text() -> None:
    usage = Usage(input_tokens=100, cached_input_tokens=90, input_image_tokens=80)
    assert cost(GPT_4O, usage) == 10 * 2_500 + 90 * 1_250


def test_one_token_over_the_threshold_makes_the_whole_call_long() -> None:
    long = {"above_input_tokens": 1_000, "rates": {"input": "4", "output": "3"}}
    of = price({"input": "2", "cached_input": "0.20", "output": "2"}, long_context=long)
    assert cost(of, Usage(input_tokens=1_000, output_tokens=10)) == 1_000 * 2_000 + 10 * 2_000
    assert cost(of, Usage(input_tokens=1_001, output_tokens=10)) == 1_001 * 4_000 + 10 * 3_000


def test_a_minute_of_audio_costs_exactly_the_price_of_a_minute() -> None:
    of = price({}, per_unit_usd={"audio_minutes": "0.017"})
    assert cost(of, Usage(audio_seconds=60)) == 17_000_000
    assert cost(of, Usage(audio_seconds=1)) == 283_334


def test_fees_are_owed_for_each_search_and_each_request() -> None:
    of = price({"input": "1"}, per_unit_usd={"web_searches": "0.01"}, per_request_usd="0.025")
    assert cost(of, Usage(web_searches=3)) == 30_000_000 + 25_000_000


def test_the_ceiling_of_text_is_its_dearest_kind_of_input_and_its_output() -> None:
    of = price({"input": "2", "cached_input": "0.20", "cache_write": "2.50", "cache_write_12h": "4", "output": "10"})
    assert ceiling(of, Usage(input_tokens=100, output_tokens=10)) == 100 * 2_500 + 10 * 10_000
    kept = Usage(input_tokens=100, cache_write_12h_tokens=1, output_tokens=10)
    assert ceiling(of, kept) == 100 * 4_000 + 10 * 10_000


def test_the_ceiling_of_a_call_that_may_speak_or_draw_takes_every_output_token_for_it() -> None:
    assert ceiling(REALTIME, Usage(output_tokens=10, output_audio_tokens=10)) == 10 * 64_000
    of = price({"input": "5", "output": "10", "output_image": "32"})
    assert ceiling(of, Usage(output_tokens=10, output_image_tokens=10)) == 10 * 32_000


@pytest.mark.parametrize("dearest", ["input", "cached_input", "cache_write"])
def test_the_ceiling_takes_each_token_for_the_dearest_kind_that_it_may_turn_out_to_be(dearest: str) -> None:
    of = price({"input": "1", "cached_input": "2", "cache_write": "3", "output": "1", dearest: "9"})
    assert ceiling(of, Usage(input_tokens=100)) == 100 * 9_000


@pytest.mark.parametrize("kind", ["audio", "image"])
@pytest.mark.parametrize("dearest", ["input", "input_{}", "cached_input_{}"])
def test_the_ceiling_of_audio_and_images_is_that_of_their_dearest_kind(kind: str, dearest: str) -> None:
    own = {"input": "1", f"input_{kind}": "2", f"cached_input_{kind}": "3", "output": "1", dearest.format(kind): "9"}
    rate = 9_000 if dearest == "input" else 1_000
    for part in (f"input_{kind}_tokens", f"cached_input_{kind}_tokens"):
        assert ceiling(price(own), Usage(**{"input_tokens": 100, part: 40})) == 60 * rate + 40 * 9_000


def test_the_ceiling_of_text_with_audio_and_images_has_each_token_once() -> None:
    bound = Usage(input_tokens=100, input_audio_tokens=30, input_image_tokens=20)
    assert ceiling(REALTIME, bound) == 50 * 4_000 + 30 * 32_000 + 20 * 5_000


def test_the_ceiling_of_a_long_context_is_the_dearer_of_both_rates() -> None:
    long = {"above_input_tokens": 1_000, "rates": {"input": "4", "output": "3"}}
    of = price({"input": "2", "cached_input": "2", "cache_write": "2", "output": "10"}, long_context=long)
    assert ceiling(of, Usage(input_tokens=1_000, output_tokens=10)) == 1_000 * 2_000 + 10 * 10_000
    assert ceiling(of, Usage(input_tokens=1_001, output_tokens=10)) == 1_001 * 4_000 + 10 * 10_000


def test_the_ceiling_of_a_call_that_cannot_speak_or_draw_does_not_take_its_output_for_that() -> None:
    of = price({"input": "1", "output": "10", "output_audio": "64", "output_image": "32"})
    assert ceiling(of, Usage(output_tokens=10)) == 10 * 10_000
    cheap = price({"input": "1", "output": "10", "output_audio": "6", "output_image": "3"})
    assert ceiling(cheap, Usage(output_tokens=10, output_audio_tokens=10, output_image_tokens=10)) == 20 * 10_000


def test_the_ceiling_has_every_unit_and_fee() -> None:
    units = ("images", "web_searches", "web_search_previews", "file_searches", "code_interpreter_sessions")
    of = price(
        {"input": "1", "characters": "1000"},
        per_unit_usd={**{name: f"0.0{number}" for number, name in enumerate(units, 1)}, "audio_minutes": "0.6"},
        per_request_usd="5",
    )
    usage = Usage(characters=1, audio_seconds=1, **dict.fromkeys(units, 10))
    assert cost(of, usage) == ceiling(of, usage) == 1_000_000 + 10_000_000 + 1_500_000_000 + 5_000_000_000


def test_everything_fits_where_output_costs_nothing() -> None:
    of = price({"input": "1", "output": "0"})
    assert output_tokens_within(of, Usage(input_tokens=9, output_tokens=50), Nano(9_000)) == 50
    assert output_tokens_within(of, Usage(input_tokens=9, output_tokens=50), Nano(8_999)) == 0
    speaking = price({"input": "1", "output": "0", "output_audio": "64"})
    assert output_tokens_within(speaking, Usage(output_tokens=50), Nano(0)) == 50
    silent = price({"input": "1", "output": "2", "output_audio": "0"})
    assert output_tokens_within(silent, Usage(output_tokens=50), Nano(0)) == 0


def test_as_many_tokens_fit_as_are_paid_for_at_the_dearest_output_that_is_possible() -> None:
    of = price({"input": "1", "output": "2", "output_audio": "64"}, per_request_usd="0.025")
    owed = 10 * 1_000 + 25_000_000
    for bound, rate in (
        (Usage(input_tokens=10, output_tokens=9_000), 2_000),
        (Usage(input_tokens=10, output_tokens=9_000, output_audio_tokens=9_000), 64_000),
    ):
        assert output_tokens_within(of, bound, Nano(owed + 5_000 * rate)) == 5_000
        assert output_tokens_within(of, bound, Nano(owed + 5_000 * rate - 1)) == 4_999
        assert output_tokens_within(of, bound, Nano(owed)) == 0
        assert output_tokens_within(of, bound, Nano(owed + 10**10)) == 9_000


def test_a_negative_count_earns_nothing_back() -> None:
    of = price({"input": "1"}, per_unit_usd={"web_searches": "0.01"})
    assert cost(of, Usage(input_tokens=10, web_searches=-1)) == 10 * 1_000
    assert ceiling(of, Usage(input_tokens=10, web_searches=-1)) == 10 * 1_000
    assert output_tokens_within(of, Usage(output_tokens=10, web_searches=-1), Nano(10 * 1_000 - 1)) == 9


def test_nothing_fits_where_the_input_is_already_too_dear() -> None:
    assert output_tokens_within(GPT_4O, Usage(input_tokens=10, output_tokens=50), Nano(10)) == 0


@given(of=prices(), choices=st.integers(1, 9), predicted=st.integers(0, 99), tokens=st.integers(0, 10**6))
def test_choices_cost_what_their_tokens_together_cost(of: Price, choices: int, predicted: int, tokens: int) -> None:
    bound = Usage(input_tokens=5)
    of_each = ceiling_line(of, bound, choices=choices, predicted_tokens=predicted)
    together = ceiling_line(of, bound)
    limit = of_each.at(tokens)

    assert limit == together.at(choices * (tokens + predicted))
    assert of_each.at(-7) == of_each.at(0)
    most = together.output_tokens_within(limit, choices * (10**7 + predicted)) // choices - predicted
    assert of_each.output_tokens_within(limit, 10**7) == most >= tokens
