"""The only cost arithmetic in Weir: what a call cost, and what it can cost at most. Pure, exact integers, no float."""

from dataclasses import dataclass
from operator import mul
from typing import Final

from app.core.money import Nano
from app.prices.book import Price
from app.prices.rates import TOKEN_DIMENSIONS, Rates
from app.prices.usage import Usage

_Counts = tuple[int, ...]
"""How many units are billed at each rate, in the order of `Rates`."""

_INPUT_FIELDS: Final = Usage._fields.index("output_tokens")
_PER: Final = 60_000_000
"""Rates are per million units, and seconds are a sixtieth of a minute: over this, every sum is a whole number."""


def cost(price: Price, usage: Usage) -> Nano:
    """Return what *usage* costs at *price*: exact, and rounded up once.

    Every token is billed once, at the rate of the narrowest detail that claims it. Usage that contradicts itself is
    never a discount: a negative count is 0, a total is at least the sum of its parts on each axis, cached and written
    tokens are text unless said to be audio or image, and those that do not fit into the text are billed uncached.
    """
    usage = _not_negative(usage)
    rates = price.long_context_rates if _is_long(price, usage) else None
    rates = rates or price.rates
    per_million = sum(map(mul, _billed(usage, rates), rates))
    return _nano(price, 60 * per_million + usage.audio_seconds * rates.audio_minutes)


@dataclass(slots=True)
class CeilingLine:
    """The most that a call can cost: it grows along a straight line with the output tokens of each of its choices."""

    price: Price
    without_output: int
    """What all but that output costs, in nano-dollars times `_PER`; and for each of its tokens, likewise:"""
    per_output_token: int

    def at(self, output_tokens: int) -> Nano:
        """Return the ceiling of a call with so many output tokens for each choice."""
        return _nano(self.price, self.without_output + self.per_output_token * max(0, output_tokens))

    def output_tokens_within(self, limit: Nano, most: int) -> int:
        """Return with how many output tokens for each choice the ceiling is at most *limit*: no more than *most*."""
        spare = (limit - self.price.per_request) * _PER - self.without_output
        if spare < 0:
            return 0
        return min(most, spare // self.per_output_token) if self.per_output_token else most


def ceiling_line(price: Price, bound: Usage, *, choices: int = 1, predicted_tokens: int = 0) -> CeilingLine:
    """Return the most that a call can cost whose usage is consistent and in no count but the output's above *bound*.

    Each of its *choices* is billed for *predicted_tokens* of output more than it generates.

    Input may turn out to be cached or written to the cache whatever *bound* says; but audio, images and writes for
    twelve hours are only expected where *bound* has some.
    """
    bound = _not_negative(bound)
    rates = price.rates
    if price.long_context_rates is not None and _is_long(price, bound):
        rates = Rates._make(map(max, rates, price.long_context_rates))
    # A token is not always what it was announced as: each counts at the dearest rate that it may turn out to have.
    text_rate = max(rates.input, rates.cached_input, rates.cache_write)
    if bound.cache_write_12h_tokens:
        text_rate = max(text_rate, rates.cache_write_12h)
    output_rate = rates.output
    if bound.output_audio_tokens:
        output_rate = max(output_rate, rates.output_audio)
    if bound.output_image_tokens:
        output_rate = max(output_rate, rates.output_image)
    audio = max(bound.input_audio_tokens, bound.cached_input_audio_tokens)
    image = max(bound.input_image_tokens, bound.cached_input_image_tokens)
    per_million = (
        (_input_total(bound) - audio - image) * text_rate
        + audio * max(text_rate, rates.input_audio, rates.cached_input_audio)
        + image * max(text_rate, rates.input_image, rates.cached_input_image)
        + sum(map(mul, _units(bound), rates[len(TOKEN_DIMENSIONS) :]))
    )
    per_output_token = 60 * output_rate * choices
    without_output = 60 * per_million + bound.audio_seconds * rates.audio_minutes + per_output_token * predicted_tokens
    return CeilingLine(price, without_output, per_output_token)


def _nano(price: Price, sixtieths: int) -> Nano:
    return Nano(-(-sixtieths // _PER) + price.per_request)


def _not_negative(usage: Usage) -> Usage:
    return usage if min(usage) >= 0 else Usage._make(max(0, count) for count in usage)


def _is_long(price: Price, usage: Usage) -> bool:
    return price.long_context_above is not None and _input_total(usage) > price.long_context_above


def _input_total(usage: Usage) -> int:
    if not any(usage[1:_INPUT_FIELDS]):  # all of it is fresh text
        return usage.input_tokens
    cached = max(usage.cached_input_tokens, usage.cached_input_audio_tokens + usage.cached_input_image_tokens)
    written = max(usage.cache_write_tokens, usage.cache_write_12h_tokens)
    audio = max(usage.input_audio_tokens, usage.cached_input_audio_tokens)
    image = max(usage.input_image_tokens, usage.cached_input_image_tokens)
    return max(usage.input_tokens, cached + written, audio + image)


def _output_total(usage: Usage) -> int:
    return max(usage.output_tokens, usage.reasoning_tokens, usage.output_audio_tokens + usage.output_image_tokens)


def _billed(usage: Usage, rates: Rates) -> _Counts:
    """Return the counts of *usage*; those of the input add up to its total, those of the output to its."""
    audio = cached_audio = image = cached_image = 0
    if rates.audio_has_own_rate:
        cached_audio = usage.cached_input_audio_tokens
        audio = max(usage.input_audio_tokens, cached_audio)
    if rates.image_has_own_rate:
        cached_image = usage.cached_input_image_tokens
        image = max(usage.input_image_tokens, cached_image)
    text = _input_total(usage) - audio - image
    cached = max(usage.cached_input_tokens, usage.cached_input_audio_tokens + usage.cached_input_image_tokens)
    cached = min(text, cached - cached_audio - cached_image)
    written = min(text - cached, max(usage.cache_write_tokens, usage.cache_write_12h_tokens))
    written_12h = min(written, usage.cache_write_12h_tokens)
    return (
        text - cached - written,
        cached,
        written - written_12h,
        written_12h,
        audio - cached_audio,
        cached_audio,
        image - cached_image,
        cached_image,
        _output_total(usage) - usage.output_audio_tokens - usage.output_image_tokens,
        usage.output_audio_tokens,
        usage.output_image_tokens,
        *_units(usage),
    )


def _units(usage: Usage) -> _Counts:
    return (
        usage.characters,
        usage.images,
        0,  # audio_minutes, which are billed by the second
        usage.web_searches,
        usage.web_search_previews,
        usage.file_searches,
        usage.code_interpreter_sessions,
    )
