"""The most that images can use, against what is known of each model: never less."""

from itertools import product
from typing import Any, Final

import pytest

from app.errors import IntegerTooLarge, IntegerTooSmall, InvalidType
from app.gateway.image_bound import image_bound, image_spec
from app.prices.usage import Usage

QUALITIES: Final = ("low", "medium", "high")
# As OpenAI's guide has them for gpt-image-1, by quality.
GPT_IMAGE_1: Final = {
    "1024x1024": (272, 1_056, 4_160),
    "1024x1536": (408, 1_584, 6_240),
    "1536x1024": (400, 1_568, 6_208),
}


def gpt_image_2(quality: str, width: int, height: int) -> int:
    """As the calculator in OpenAI's guide has them."""
    factor = {"low": 16, "medium": 48, "high": 96}[quality]
    long, short = max(width, height), min(width, height)
    short_factor = (2 * factor * short + long) // (2 * long)
    return -(-factor * short_factor * (2_000_000 + width * height) // 4_000_000)


@pytest.mark.parametrize(
    "model", ["gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-1.5-2025-12-16", "other"]
)
def test_it_is_never_below_what_the_first_models_make_of_a_size(model: str) -> None:
    for size, counts in GPT_IMAGE_1.items():
        for quality, tokens in zip(QUALITIES, counts, strict=True):
            assert image_spec({"size": size, "quality": quality}, model).tokens >= tokens
    for unsaid in ({}, {"quality": "auto", "size": "auto"}, {"quality": "high", "size": None}):
        assert image_spec(unsaid, model).tokens >= max(counts)


@pytest.mark.parametrize(
    "model", ["gpt-image-2", "gpt-image-2-2026-04-21", "gpt-image-2.5-flare", "chatgpt-image-latest"]
)
def test_it_is_never_below_what_the_later_models_make_of_any_size(model: str) -> None:
    sides = [16 * step for step in (32, 50, 64, 96, 135, 180, 240)]
    for quality, (width, height) in product(QUALITIES, product(sides, sides)):
        tokens = image_spec({"size": f"{width}x{height}", "quality": quality}, model).tokens
        assert tokens >= gpt_image_2(quality, width, height)
    largest = max(
        gpt_image_2("high", width, height) for width, height in product(sides, sides) if width * height <= 8_294_400
    )
    assert image_spec({}, model).tokens >= largest


def test_of_a_model_that_is_not_known_the_quality_promises_nothing() -> None:
    low, high = (
        image_spec({"size": "1024x1024", "quality": quality}, "gpt-image-3").tokens for quality in ("low", "high")
    )

    assert low == high > image_spec({"size": "1024x1024"}, "gpt-image-2").tokens


def test_every_image_is_bounded_as_a_call_of_its_own() -> None:
    spec = image_spec({"n": 3, "size": "1024x1024", "quality": "low", "partial_images": 2}, "gpt-image-1")

    bound = image_bound(spec, "a heron", images_sent=2)

    assert bound.units == Usage(images=3)
    assert (bound.choices, bound.inputs, bound.draws, bound.sees) == (3, 3, True, True)
    assert bound.input_tokens > 3 * (2 * 7_337 + len("a heron"))
    assert bound.output_tokens is not None
    assert bound.output_tokens > spec.tokens + 200
    assert not image_bound(spec, "a heron", images_sent=0).sees


@pytest.mark.parametrize(
    ("fields", "variant"),
    [
        ({}, "1024x1024"),
        ({"size": "512x512", "quality": "standard"}, "512x512"),
        ({"size": "1792x1024", "quality": "hd"}, "hd/1792x1024"),
        ({"quality": "auto"}, "auto/1024x1024"),
    ],
)
def test_prices_have_a_name_for_quality_and_size(fields: dict[str, Any], variant: str) -> None:
    assert image_spec(fields, "dall-e-3").variants == (variant,)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"n": 0}, IntegerTooSmall),
        ({"n": 1_001}, IntegerTooLarge),
        ({"n": "2"}, InvalidType),
        ({"partial_images": -1}, IntegerTooSmall),
        ({"size": 5}, InvalidType),
        ({"quality": []}, InvalidType),
    ],
)
def test_what_decides_about_money_must_be_readable(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error) as refused:
        image_spec(fields, "gpt-image-1")
    assert [getattr(refused.value, "param", None)] == list(fields)


def test_every_frame_of_a_moving_image_is_bounded() -> None:
    still = image_spec({"size": "512x512"}, "gpt-image-2.6-flare").tokens

    assert image_spec({"size": "512x512", "output_format": "gif"}, "gpt-image-2.6-flare").tokens == 9 * still
    assert image_spec({"size": "512x512", "frame_count": 16}, "gpt-image-2.6-flare").tokens == 16 * still


def test_what_a_text_model_draws_has_no_price_to_bound_it_with() -> None:
    for kind, is_unpriced in (("svg", True), ("png", False), (None, False)):
        assert image_bound(image_spec({"output_format": kind}, "m"), "", 0).is_unpriced == is_unpriced
