import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from app.prices.price_file import parse_prices, price_from_row

ROW: dict[str, Any] = {
    "model": "gpt-4o-20*",
    "service_tier": "priority",
    "valid_from": "2026-10-12",
    "rates": {"input": "4.25", "cached_input": "2.125", "output": "17.00"},
    "long_context": {"above_input_tokens": 272000, "rates": {"input": "8.5"}},
    "per_unit_usd": {"web_searches": "0.01", "audio_minutes": "0.006"},
    "per_request_usd": "0.025",
    "context_tokens_max": 128000,
    "output_tokens_max": 16384,
    "source": "test",
}


def test_a_row_is_read_exactly() -> None:
    price = price_from_row(ROW)
    assert (price.model, price.service_tier, price.source) == ("gpt-4o-20*", "priority", "test")
    assert price.valid_from == datetime(2026, 10, 12, tzinfo=UTC)
    assert price.rates.input == 4_250_000_000
    assert price.rates.cached_input == 2_125_000_000
    assert price.rates.output == 17_000_000_000
    assert price.rates.web_searches == 10_000_000 * 1_000_000
    assert price.rates.audio_minutes == 6_000_000 * 1_000_000
    assert price.per_request == 25_000_000
    assert (price.context_tokens_max, price.output_tokens_max) == (128_000, 16_384)


def test_a_long_context_repeats_only_what_is_dearer_in_it() -> None:
    price = price_from_row(ROW)
    assert price.long_context_above == 272_000
    assert price.long_context_rates is not None
    assert price.long_context_rates.input == 8_500_000_000
    assert price.long_context_rates.cached_input == price.rates.cached_input
    assert price.long_context_rates.output == price.rates.output
    assert price.long_context_rates.web_searches == price.rates.web_searches


def test_what_is_not_given_falls_back_to_what_it_is_billed_as() -> None:
    rates = price_from_row(
        {**ROW, "rates": {"input": "3"}, "long_context": {"above_input_tokens": 1, "rates": {"input": "4"}}}
    ).rates
    tokens = rates[: rates._fields.index("characters")]
    assert set(tokens) == {3_000_000_000}
    assert not rates.audio_has_own_rate
    assert not rates.image_has_own_rate


def test_cached_audio_falls_back_to_audio_where_that_has_a_rate_and_to_cached_text_where_not() -> None:
    text = price_from_row({**ROW, "rates": {"input": "3", "cached_input": "1"}}).rates
    assert text.cached_input_audio == text.cached_input_image == text.cached_input
    audio = price_from_row(
        {**ROW, "rates": {"input": "3", "cached_input": "1", "input_audio": "9", "input_image": "5"}}
    ).rates
    assert (audio.cached_input_audio, audio.cached_input_image) == (audio.input_audio, audio.input_image)
    assert audio.audio_has_own_rate
    assert audio.image_has_own_rate


def test_a_long_write_to_the_cache_falls_back_to_a_short_one_and_a_search_preview_to_a_search() -> None:
    rates = price_from_row({**ROW, "rates": {"input": "3", "cache_write": "4"}}).rates
    assert rates.cache_write_12h == rates.cache_write == 4_000_000_000
    assert rates.web_search_previews == rates.web_searches > 0


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("rates", "cached_input"),
        ("rates", "cache_write"),
        ("rates", "cache_write_12h"),
        ("rates", "input_audio"),
        ("rates", "cached_input_audio"),
        ("rates", "input_image"),
        ("rates", "cached_input_image"),
        ("rates", "output"),
        ("rates", "output_audio"),
        ("rates", "output_image"),
        ("rates", "characters"),
        ("per_unit_usd", "images"),
        ("per_unit_usd", "audio_minutes"),
        ("per_unit_usd", "web_searches"),
        ("per_unit_usd", "web_search_previews"),
        ("per_unit_usd", "file_searches"),
        ("per_unit_usd", "code_interpreter_sessions"),
    ],
)
def test_each_kind_of_unit_has_a_price_of_its_own(field: str, name: str) -> None:
    row = {key: ROW[key] for key in ("model", "service_tier", "valid_from", "source")}
    prices: dict[str, dict[str, str]] = {"rates": {"input": "1"}, "per_unit_usd": {}}
    prices[field][name] = "7"

    rates = price_from_row({**row, **prices}).rates

    assert getattr(rates, name) == (7_000_000_000 if field == "rates" else 7_000_000_000_000_000)
    assert rates.input == 1_000_000_000


def test_what_is_not_priced_by_the_unit_costs_nothing() -> None:
    row = {key: ROW[key] for key in ("model", "service_tier", "valid_from", "source")}
    rates = price_from_row({**row, "rates": {"input": "1"}}).rates
    units = rates[rates._fields.index("characters") : rates._fields.index("audio_has_own_rate")]
    assert set(units) == {0}


def test_a_price_by_the_unit_needs_no_price_by_the_token() -> None:
    row = {**ROW, "rates": {}, "per_unit_usd": {"images": "0.04"}}
    del row["long_context"]
    assert price_from_row(row).rates.images == 40_000_000 * 1_000_000


def test_a_date_without_a_zone_is_in_utc_wherever_the_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert price_from_row(ROW).valid_from == datetime(2026, 10, 12, tzinfo=UTC)
        offset = price_from_row({**ROW, "valid_from": "2026-10-12T02:00:00+02:00"})
        assert offset.valid_from == datetime(2026, 10, 12, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_id_is_the_callers_or_made_of_what_identifies_the_row() -> None:
    assert price_from_row(ROW, "price_1").id == "price_1"
    assert price_from_row(ROW).id == "gpt-4o-20*/priority/2026-10-12T00:00:00+00:00/test"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": {}}, "rate: is not a field"),
        ({"zones": 1, "rate": {}, "rats": {}, "tiers": []}, "rate: is not a field"),
        ({"model": ""}, "model: must be a string"),
        ({"model": None}, "model: must be a string"),
        ({"model": "gpt *"}, "model: must be a name"),
        ({"model": "gpt-*-mini"}, "model: must be a name"),
        ({"service_tier": "fast"}, "service_tier: must be one of"),
        ({"source": 3}, "source: must be a string"),
        ({"valid_from": "12.10.2026"}, "valid_from: must be a date"),
        ({"rates": []}, "rates: must be an object"),
        ({"rates": {"input": 2.5}}, "rates.input: must be decimal dollars in a string"),
        ({"rates": {"input": 2}}, "rates.input: must be decimal dollars in a string"),
        ({"rates": {"input": "-1"}}, "rates.input: must be decimal dollars"),
        ({"rates": {"input": "NaN"}}, "rates.input: must be decimal dollars"),
        ({"rates": {"input": "Infinity"}}, "rates.input: must be decimal dollars"),
        ({"rates": {"input": "1e3"}}, "rates.input: must be decimal dollars"),
        ({"rates": {"input": "1_0"}}, "rates.input: must be decimal dollars"),
        ({"rates": {"input": "٣"}}, "rates.input: must be decimal dollars"),
        ({"rates": {"input": "1\n"}}, "rates.input: must be decimal dollars"),
        ({"rates": {"input": "0.0000000001"}}, "rates.input: must be decimal dollars with at most 9"),
        ({"rates": {"inputs": "1"}}, "rates.inputs: is not one of"),
        ({"rates": {"output": "1"}}, "rates.input: is missing"),
        ({"rates": {}, "per_unit_usd": {}}, "rates: at least one price is needed"),
        ({"long_context": None}, "long_context: must be an object"),
        (
            {"long_context": {"above_input_tokens": 5, "rates": {"inputs": "1"}}},
            "long_context.rates.inputs: is not one of",
        ),
        ({"rates": {"images": "1"}}, "rates.images: is not one of"),
        ({"per_unit_usd": {"images": 1}}, "per_unit_usd.images: must be decimal dollars in a string"),
        ({"per_unit_usd": {"input": "1"}}, "per_unit_usd.input: is not one of images, audio_minutes, web_searches, "),
        ({"per_request_usd": 1}, "per_request_usd: must be decimal dollars"),
        ({"withdrawn": "yes"}, "withdrawn: must be true or false"),
        ({"withdrawn": True, "source": "operator"}, "withdrawn: stands alone"),
        ({"context_tokens_max": 0}, "context_tokens_max: must be a positive whole number"),
        ({"context_tokens_max": 1.5}, "context_tokens_max: must be a positive whole number"),
        ({"output_tokens_max": True}, "output_tokens_max: must be a positive whole number"),
        ({"long_context": {"above": 1}}, "long_context.above: is not a field"),
        ({"long_context": {"z": 1, "y": 1, "above": 1, "x": 1}}, "long_context.above: is not a field"),
        ({"long_context": {"rates": {"input": "1"}}}, "long_context: needs both"),
        ({"long_context": {"above_input_tokens": 5}}, "long_context: needs both"),
        ({"long_context": {"above_input_tokens": "5"}}, "long_context.above_input_tokens: must be a positive"),
        ({"long_context": {"above_input_tokens": 5, "rates": {"input": 1}}}, "long_context.rates.input: must be"),
    ],
)
def test_an_unclear_row_is_refused_and_its_field_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        price_from_row({**ROW, **change})


@pytest.mark.parametrize("tier", ["default", "flex", "priority", "ultrafast", "batch"])
def test_every_tier_of_the_upstream_can_have_a_price(tier: str) -> None:
    assert price_from_row({**ROW, "service_tier": tier}).service_tier == tier


def test_only_an_operators_price_can_be_withdrawn() -> None:
    row = {name: ROW[name] for name in ("model", "service_tier", "valid_from")}
    with pytest.raises(ValueError, match=r"^withdrawn: stands alone"):
        price_from_row({**row, "source": "shipped", "withdrawn": True})
    assert price_from_row({**row, "source": "operator", "withdrawn": True}).is_withdrawal


def test_a_row_without_any_price_is_refused() -> None:
    row = {name: ROW[name] for name in ("model", "service_tier", "valid_from", "source")}
    with pytest.raises(ValueError, match=r"^rates: at least one price is needed$"):
        price_from_row(row)


def test_a_file_is_read_from_its_bytes_and_from_its_content() -> None:
    content = {"version": "2026-11-22", "prices": [ROW, {**ROW, "model": "m"}]}
    version, prices = parse_prices(json.dumps(content).encode())
    assert version == "2026-11-22"
    assert [price.model for price in prices] == ["gpt-4o-20*", "m"]
    assert parse_prices(content) == (version, prices)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "price file: must be an object"),
        ({"prices": []}, "version: must be a string"),
        ({"version": "1", "prices": {}}, "prices: must be a list"),
        ({"version": "1", "prices": [ROW, 3]}, r"prices\[1\] \(None\): price: must be an object"),
        ({"version": "1", "prices": [ROW, {**ROW, "source": ""}]}, r"prices\[1\] \(gpt-4o-20\*\): source: must be"),
        ({"version": "1", "prices": [ROW, ROW]}, r"prices\[1\] \(gpt-4o-20\*\): is there twice"),
    ],
)
def test_an_unclear_file_is_refused_and_its_row_named(content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        parse_prices(json.dumps(content).encode())


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        parse_prices(b"prices")
