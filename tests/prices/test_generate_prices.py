import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from genai_prices import types as genai
from genai_prices.data import providers

from app.prices.book import SERVICE_TIERS, Book, Price
from app.prices.cost import cost
from app.prices.price_file import parse_prices
from app.prices.rates import Rates, nano_from_usd_text
from app.prices.usage import Usage
from scripts.generate_prices import GAPS, LIFETIMES_SINCE, PRICES, TOOL_FEES_SINCE, build, text_of
from scripts.litellm_gaps import gaps_from, usd_text

VERSION, SHIPPED = parse_prices(PRICES.read_bytes())
BOOK = Book(SHIPPED)
NOW = datetime(2026, 11, 22, tzinfo=UTC)
NOTICE = PRICES.with_name("NOTICE.md")
OPENAI = next(provider for provider in providers if provider.id == "openai")
WITH_TOOL_FEES = datetime.fromisoformat(TOOL_FEES_SINCE).replace(tzinfo=UTC)
GENAI_NAMES = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "output_mtok": "output",
    "input_audio_mtok": "input_audio",
    "output_audio_mtok": "output_audio",
    "input_image_mtok": "input_image",
    "output_image_mtok": "output_image",
    "cache_audio_read_mtok": "cached_input_audio",
    "cache_image_read_mtok": "cached_input_image",
    "input_mchars": "characters",
}


def find(model: str, tier: str | None = None, at: datetime = NOW) -> Price:
    price = BOOK.find(model, tier, at)
    assert price is not None, model
    return price


def usd(nano_per_million: int) -> Decimal:
    return Decimal(nano_per_million).scaleb(-9)


def names_known_to(clause: Any) -> Iterator[str]:
    match clause:
        case genai.ClauseOr(or_=parts):
            for part in parts:
                yield from names_known_to(part)
        case genai.ClauseEquals(equals=name):
            yield name
        case genai.ClauseStartsWith(starts_with=prefix):
            yield f"{prefix}x"
        case genai.ClauseRegex(regex=rule):
            yield rule.removeprefix("^").replace("\\.", ".").split("-\\d")[0] + "-2026-12-31"
        case genai.ClauseContains(contains="moderation"):
            yield from ("omni-moderation-latest", "omni-moderation-2024-09-26", "text-moderation-stable")
        case _:
            pytest.fail(f"cannot name anything that {clause} matches")


def test_the_file_is_what_its_sources_give() -> None:
    document, left_out = build(json.loads(GAPS.read_bytes()), VERSION)
    assert PRICES.read_text() == text_of(document), "run `make prices`"
    assert not [line for line in left_out if line.startswith("genai-prices")]


def test_the_file_is_sorted_and_has_no_price_twice() -> None:
    keys = [(price.model, SERVICE_TIERS.index(price.service_tier), price.valid_from) for price in SHIPPED]
    assert keys == sorted(set(keys))


def test_the_file_names_its_sources_and_the_notice_their_owners() -> None:
    sources = json.loads(PRICES.read_bytes())["generated_from"]
    assert {source["name"]: source["license"] for source in sources} == {"genai-prices": "MIT", "litellm": "MIT"}
    assert date.fromisoformat(VERSION) >= date(2026, 11, 22)
    for owner in ("Copyright (c) Pydantic Services Inc. 2025 to present", "Copyright (c) 2023 Berri AI"):
        assert owner in NOTICE.read_text()


@pytest.mark.parametrize(
    ("model", "tier", "rates"),
    [
        ("gpt-4o", None, ("2.50", "1.25", "10.00")),
        ("gpt-4o-2024-11-20", None, ("2.50", "1.25", "10.00")),
        ("gpt-4o-2024-05-13", None, ("5.00", "5.00", "15.00")),
        ("gpt-4o", "priority", ("4.25", "2.125", "17.00")),
        ("gpt-4o", "batch", ("1.25", "1.25", "5.00")),
        ("gpt-4o-mini", None, ("0.15", "0.075", "0.60")),
        ("gpt-4o-mini-2024-07-18", None, ("0.15", "0.075", "0.60")),
        ("gpt-4.1", None, ("2.00", "0.50", "8.00")),
        ("gpt-5", None, ("1.25", "0.125", "10.00")),
        ("gpt-5-mini", None, ("0.25", "0.025", "2.00")),
        ("gpt-5", "flex", ("0.625", "0.0625", "5.00")),
        ("o3", None, ("2.00", "0.50", "8.00")),
        ("o4-mini", None, ("1.10", "0.275", "4.40")),
        ("gpt-3.5-turbo", None, ("0.50", "0.50", "1.50")),
        ("gpt-4-turbo", None, ("10.00", "10.00", "30.00")),
        ("sim-anything", None, ("1.00", "0.10", "4.00")),
        ("sim-anything", "batch", ("0.50", "0.05", "2.00")),
        ("omni-moderation-latest", None, ("0", "0", "0")),
    ],
)
def test_well_known_models_cost_what_openai_publishes(model: str, tier: str | None, rates: tuple[str, ...]) -> None:
    own = find(model, tier).rates
    assert (usd(own.input), usd(own.cached_input), usd(own.output)) == tuple(map(Decimal, rates))


@pytest.mark.parametrize(
    ("model", "input_usd"),
    [
        ("text-embedding-3-small", "0.02"),
        ("text-embedding-3-large", "0.13"),
        ("text-embedding-ada-002", "0.10"),
        ("sim-embedding-small", "0.02"),
    ],
)
def test_embeddings_cost_what_is_published(model: str, input_usd: str) -> None:
    assert usd(find(model).rates.input) == Decimal(input_usd)


def test_speech_and_transcription_cost_what_is_published() -> None:
    assert cost(find("tts-1"), Usage(characters=1_000_000)) == 15_000_000_000
    assert cost(find("tts-1-hd"), Usage(characters=1_000)) == 30_000_000
    assert cost(find("whisper-1"), Usage(audio_seconds=60)) == 6_000_000


def test_images_cost_what_is_published_by_quality_and_size_and_are_bounded_by_the_dearest() -> None:
    one = Usage(images=1)
    assert cost(find("dall-e-2/512x512"), one) == 18_000_000
    assert cost(find("dall-e-3/1024x1024"), one) == 40_000_000
    assert cost(find("dall-e-3/hd/1792x1024"), one) == 120_000_000
    assert cost(find("gpt-image-1"), Usage(output_tokens=1_056, output_image_tokens=1_056)) == 42_240_000
    for model in ("dall-e-2", "dall-e-3"):
        sizes = [price for price in SHIPPED if price.model.startswith(f"{model}/")]
        assert cost(find(model), one) == max(cost(price, one) for price in sizes)


def test_a_dated_price_change_is_kept() -> None:
    assert usd(find("o3", at=datetime(2025, 6, 9, 23, 59, tzinfo=UTC)).rates.input) == 10
    assert usd(find("o3", at=datetime(2025, 6, 10, tzinfo=UTC)).rates.input) == 2


def test_a_long_prompt_costs_more() -> None:
    price = find("gpt-5.4")
    assert price.long_context_above == 272_000
    assert cost(price, Usage(input_tokens=272_000)) == 272_000 * 2_500
    assert cost(price, Usage(input_tokens=272_001)) == 272_001 * 5_000


@pytest.mark.parametrize("tier", ["default", "flex", "priority"])
@pytest.mark.parametrize(
    ("model", "preview_usd"),
    [
        ("gpt-4.1-nano", "0.025"),
        ("gpt-4o", "0.025"),
        ("gpt-4o-2024-05-13", "0.025"),
        ("gpt-4o-2024-11-20", "0.025"),
        ("gpt-4o-mini", "0.025"),
        ("ft:gpt-4.1-mini-2025-04-14:org::id", "0.025"),
        ("chat-latest", "0.01"),
        ("computer-use-preview", "0.01"),
        ("gpt-5-mini", "0.01"),
        ("gpt-5.3-codex", "0.01"),
        ("gpt-6.1-sol", "0.01"),
        ("o1", "0.01"),
        ("o3-mini", "0.01"),
        ("o3-pro", "0.01"),
    ],
)
def test_tools_that_openai_runs_cost_the_same_with_every_model(model: str, preview_usd: str, tier: str) -> None:
    price = find(model, tier, WITH_TOOL_FEES)
    fees = [
        (Usage(web_searches=1), "0.01"),
        (Usage(web_search_previews=1), preview_usd),
        (Usage(file_searches=1), "0.0025"),
        (Usage(code_interpreter_sessions=1), "0.03"),
    ]
    assert [cost(price, usage) for usage, _ in fees] == [nano_from_usd_text(usd) for _, usd in fees]


def test_fees_of_tools_that_were_missing_came_in_rows_of_their_own_and_changed_nothing_else() -> None:
    rows = json.loads(PRICES.read_bytes())["prices"]
    for before, row in pairwise(rows):
        if row["valid_from"] == TOOL_FEES_SINCE:
            assert before["valid_from"] < TOOL_FEES_SINCE
            assert before.get("per_unit_usd", {}).items() <= row["per_unit_usd"].items()
            assert without_units(row) == without_units(before)


def without_units(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in {"valid_from", "per_unit_usd"}}


def test_an_ultrafast_call_is_not_billed_as_a_default_one() -> None:
    price = find("gpt-6-astra", "ultrafast")
    assert price.is_for("ultrafast")
    assert usd(price.rates.output) == 300


@pytest.mark.parametrize("model", OPENAI.models, ids=lambda model: model.id)
def test_every_name_has_the_price_that_genai_prices_gives_it(model: genai.ModelInfo) -> None:
    prices = model.prices if isinstance(model.prices, list) else []
    constraints = [item.constraint for item in prices] + [item.constraint for item in model.price_variants or []]
    starts = [
        datetime.combine(constraint.start_date, time(), UTC)
        for constraint in constraints
        if isinstance(constraint, genai.StartDateConstraint)
    ]
    for name in names_known_to(model.match):
        assert OPENAI.find_model(name) is not None
        owner = OPENAI.find_model(name) or model
        for at in (NOW, *starts, *(start - timedelta(seconds=1) for start in starts)):
            for tier in SERVICE_TIERS:
                price = find(name, tier, at)
                if price.source == "genai-prices" and price.is_for(tier):
                    context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier}
                    assert_same(price, owner.get_prices(at, context))


def assert_same(price: Price, theirs: genai.ModelPrice) -> None:
    for key, value in vars(theirs).items():
        if key in GENAI_NAMES and value is not None:
            ours = getattr(price.rates, GENAI_NAMES[key])
            base = value.base if isinstance(value, genai.TieredPrices) else value
            assert usd(ours) == base, (price.id, key)
            if isinstance(value, genai.TieredPrices):
                assert price.long_context_above == value.tiers[0].start
                assert price.long_context_rates is not None
                assert usd(getattr(price.long_context_rates, GENAI_NAMES[key])) == value.tiers[0].price


def test_every_model_is_priced_by_default() -> None:
    assert {price.model for price in SHIPPED} == {price.model for price in SHIPPED if price.service_tier == "default"}


def test_a_long_context_is_never_cheaper() -> None:
    for price in SHIPPED:
        if price.long_context_rates is not None:
            assert all(map(int.__ge__, price.long_context_rates, price.rates)), price.id


def test_no_tier_is_on_the_wrong_side_of_the_default_one() -> None:
    for price in SHIPPED:
        default = find(price.model.removesuffix("*"), at=price.valid_from)
        if price.model != default.model:
            continue
        dearer = price.service_tier in {"priority", "ultrafast"}
        for ours, theirs in zip(price.rates, default.rates, strict=True):
            assert ours >= theirs if dearer else ours <= theirs, price.id


def test_no_rate_is_the_wrong_order_of_magnitude() -> None:
    tokens = Rates._fields.index("characters")
    for price in SHIPPED:
        rates = price.rates
        assert all(0 <= usd(rate) <= 1_000 for rate in rates[:tokens]), price.id
        assert rates.cached_input <= rates.input, price.id


def test_litellms_prices_by_the_token_become_prices_by_the_million() -> None:
    entry = {
        "litellm_provider": "openai",
        "mode": "chat",
        "max_input_tokens": Decimal(128000),
        "max_output_tokens": Decimal(16384),
        "input_cost_per_token": Decimal("2.5E-06"),
        "output_cost_per_token": Decimal("1E-05"),
        "input_cost_per_token_above_272k_tokens": Decimal("5E-06"),
        "input_cost_per_token_batches": Decimal("1.25E-06"),
        "cache_creation_input_token_cost": Decimal("1E-06"),
        "search_context_cost_per_query": {"search_context_size_low": Decimal("0.01"), "x": Decimal("0.025")},
        "input_cost_per_second": Decimal("0.000283333333333"),
    }
    others = {
        "azure/m": {**entry, "litellm_provider": "azure"},
        "low/1024/m": entry,
        "film": {**entry, "mode": "video_generation"},
        "openai/container": {"code_interpreter_cost_per_session": Decimal("0.03")},
        "sample_spec": "text",
    }
    assert gaps_from({"m": entry, **others}, "1.0") == {
        "litellm_version": "1.0",
        "code_interpreter_session_usd": "0.03",
        "models": {
            "m": {
                "context_tokens_max": 128000,
                "output_tokens_max": 16384,
                "search_usd": "0.025",
                "audio_minute_usd": "0.017",
                "default": {
                    "rates": {"input": "2.50", "output": "10.00"},
                    "long_context": {"above_input_tokens": 272000, "rates": {"input": "5.00"}},
                },
                "batch": {"rates": {"input": "1.25"}},
            }
        },
    }


@pytest.mark.parametrize(
    ("value", "text"), [("0", "0.00"), ("2.5", "2.50"), ("0.0625", "0.0625"), ("1E-10", "0.000000001")]
)
def test_dollars_are_written_exactly_or_rounded_up(value: str, text: str) -> None:
    assert usd_text(Decimal(value)) == text
    assert Fraction(text) >= Fraction(value)


def test_a_dated_model_costs_what_its_plain_name_does() -> None:
    """LiteLLM says some rates for plain names only, and a rate that is missing is charged as one that is lower."""
    later = datetime.fromisoformat(LIFETIMES_SINCE).replace(tzinfo=UTC)
    dated = {price for price in SHIPPED if price.model.endswith("-20*") and price.rates.cache_write}
    assert dated
    for each in dated:
        plain = find(each.model.removesuffix("-20*"), each.service_tier, later)
        assert find(each.model.replace("*", "26-12-31"), each.service_tier, later).rates == plain.rates, each.model
