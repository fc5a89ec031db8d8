"""The rates of one price as exact integers. Built from decimal strings only; a float is refused, never rounded."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple, NewType

from app.core.money import NANO_PER_USD

NanoPerMillion = NewType("NanoPerMillion", int)
"""Nano-dollars per million units (1e-15 USD per unit)."""

TOKEN_DIMENSIONS: Final = (
    "input",
    "cached_input",
    "cache_write",
    "cache_write_12h",
    "input_audio",
    "cached_input_audio",
    "input_image",
    "cached_input_image",
    "output",
    "output_audio",
    "output_image",
)
"""Priced per million tokens."""
MILLION_DIMENSIONS: Final = (*TOKEN_DIMENSIONS, "characters")
"""Everything priced per million, the keys of a price's `rates`."""
UNIT_DIMENSIONS: Final = (
    "images",
    "audio_minutes",
    "web_searches",
    "web_search_previews",
    "file_searches",
    "code_interpreter_sessions",
)
"""Priced one by one, the keys of a price's `per_unit_usd`."""
TOOL_DIMENSIONS: Final = UNIT_DIMENSIONS[2:]
"""Those that are calls of tools which the upstream runs."""

_DECIMALS_MAX: Final = 9
_USD = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?")


class Rates(NamedTuple):
    """What each kind of unit costs, in nano-dollars per million; a rate that was not given is the one it falls back to.

    Cached input, cache writes, audio and images fall back to input; cached audio and images to uncached ones where
    these have a rate of their own, else to cached input; output to input, its audio and images to output; a preview of
    the web search to web search. Everything else falls back to 0.
    """

    input: NanoPerMillion
    cached_input: NanoPerMillion
    cache_write: NanoPerMillion
    cache_write_12h: NanoPerMillion
    input_audio: NanoPerMillion
    cached_input_audio: NanoPerMillion
    input_image: NanoPerMillion
    cached_input_image: NanoPerMillion
    output: NanoPerMillion
    output_audio: NanoPerMillion
    output_image: NanoPerMillion
    characters: NanoPerMillion
    images: NanoPerMillion
    audio_minutes: NanoPerMillion
    web_searches: NanoPerMillion
    web_search_previews: NanoPerMillion
    file_searches: NanoPerMillion
    code_interpreter_sessions: NanoPerMillion
    audio_has_own_rate: bool
    """Whether audio input is billed apart from text; if not, its tokens are text, cached and written as such."""
    image_has_own_rate: bool


def nano_from_usd_text(text: object) -> int:
    """Return decimal dollars such as `"2.50"` as nano-dollars, exactly.

    Raises ValueError for what is not a string, is negative or not finite, or has over 9 digits on either side.
    """
    if not isinstance(text, str):
        raise ValueError(f'must be decimal dollars in a string such as "2.50", not {text!r}')  # noqa: TRY004
    match = _USD.fullmatch(text)
    if match is None:
        raise ValueError(f"must be decimal dollars with at most 9 digits before and after the point, not {text!r}")
    dollars, fraction = match.groups(default="")
    return int(dollars) * NANO_PER_USD + int(fraction.ljust(_DECIMALS_MAX, "0"))


def rates_from_usd(per_million: Mapping[str, object], per_unit: Mapping[str, object]) -> Rates:
    """Return the rates for decimal-string prices: *per_million* of `MILLION_DIMENSIONS`, *per_unit* of the others.

    Raises ValueError, naming the field, for an unknown name, a price that is not exact decimal dollars, token prices
    without `input`, or no price at all.
    """
    given = {name: _rate("rates", name, text, 1) for name, text in per_million.items()}
    given |= {name: _rate("per_unit_usd", name, text, 1_000_000) for name, text in per_unit.items()}
    if not given:
        raise ValueError("rates: at least one price is needed")
    if "input" not in given and not given.keys().isdisjoint(TOKEN_DIMENSIONS):
        raise ValueError("rates.input: is missing")
    nothing = NanoPerMillion(0)
    base = given.get("input", nothing)
    cached = given.get("cached_input", base)
    write = given.get("cache_write", base)
    audio, image = given.get("input_audio"), given.get("input_image")
    output = given.get("output", base)
    return Rates(
        input=base,
        cached_input=cached,
        cache_write=write,
        cache_write_12h=given.get("cache_write_12h", write),
        input_audio=base if audio is None else audio,
        cached_input_audio=given.get("cached_input_audio", cached if audio is None else audio),
        input_image=base if image is None else image,
        cached_input_image=given.get("cached_input_image", cached if image is None else image),
        output=output,
        output_audio=given.get("output_audio", output),
        output_image=given.get("output_image", output),
        characters=given.get("characters", nothing),
        images=given.get("images", nothing),
        audio_minutes=given.get("audio_minutes", nothing),
        web_searches=given.get("web_searches", nothing),
        web_search_previews=given.get("web_search_previews", given.get("web_searches", nothing)),
        file_searches=given.get("file_searches", nothing),
        code_interpreter_sessions=given.get("code_interpreter_sessions", nothing),
        audio_has_own_rate=audio is not None or "cached_input_audio" in given,
        image_has_own_rate=image is not None or "cached_input_image" in given,
    )


def _rate(field: str, name: str, text: object, units: int) -> NanoPerMillion:
    known = MILLION_DIMENSIONS if field == "rates" else UNIT_DIMENSIONS
    if name not in known:
        raise ValueError(f"{field}.{name}: is not one of {', '.join(known)}")
    try:
        return NanoPerMillion(nano_from_usd_text(text) * units)
    except ValueError as error:
        raise ValueError(f"{field}.{name}: {error}") from None
