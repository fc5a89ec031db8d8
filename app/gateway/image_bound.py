"""The most that making images can use, read from its request alone. Pure; in doubt it is more, never less.

Models of the DALL-E family are billed by the image, those of the GPT Image family by tokens.
https://platform.openai.com/docs/guides/image-generation (cost and latency)
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from app.gateway.body import find_whole_number, optional
from app.prices.service import Bound
from app.prices.usage import Usage

_COUNT_MAX: Final = 1_000
_SIZE: Final = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
_SIZE_DEFAULT: Final = "1024x1024"
"""Of models that are billed by the image."""
_PIXELS_MAX: Final = 3_840 * 2_160
"""Of an image that a model chooses the size of."""
_PIXELS_MAX_BEFORE_2: Final = 1_536 * 1_024
_BEFORE_2: Final = "gpt-image-1"
_MEASURED: Final = re.compile(r"(?:gpt-image-(?:1|1-mini|1\.5|2)|chatgpt-image-latest)(?:-20[0-9-]+)?")
"""The models that these rules are known to hold for; others may have twice as many tokens, whatever the quality.

Newer ones have further qualities, but fewer tokens: an image of gpt-image-2.6 at its best has about 5,800.
"""
_GRIDS: Final = {"low": 24, "medium": 48}
_GRID_MAX: Final = 96
_AREA_OFFSET_PIXELS: Final = 2_000_000
_AREA_PIXELS: Final = 4_000_000
_FRAMES_MAX: Final = 16
_FRAMES_DEFAULT: Final = 9
"""Of a GIF, each of which is bounded as an image."""
PARTIAL_IMAGE_TOKENS: Final = 100
_WRITTEN_TOKENS_MAX: Final = 2_048
"""What a model tells itself about an image: gpt-image-1.5 is billed for some 200 tokens of text with each."""
_SEEN_TOKENS_MAX: Final = 10_000
"""Of an image that goes in: gpt-image-1 sees it as up to 7,337 tokens in high fidelity, gpt-image-2 as 1,536."""
_FRAME_TOKENS: Final = 256


class ImageSpec(NamedTuple):
    """What is asked for: so many images, and what each is."""

    images: int
    tokens: int
    """About how many one of them has, for a model that is billed by tokens; rather too many."""
    partial_images: int
    """How many unfinished versions of each are wanted."""
    variants: tuple[str, ...]
    """What they are called in prices of their own, behind a slash: `hd/1792x1024`."""
    is_svg: bool
    """A text model writes them, and is billed by a price of its own."""


def image_spec(document: Mapping[str, Any], model: str) -> ImageSpec:
    """Return what the fields in *document* ask of *model*; raises a Refusal for one of another type or out of range."""
    fields = dict(document)
    size, quality = optional(fields, "size", str), optional(fields, "quality", str)
    kind = optional(fields, "output_format", str)
    frames = find_whole_number(fields, "frame_count", _FRAMES_MAX) or (_FRAMES_DEFAULT if kind == "gif" else 1)
    return ImageSpec(
        images=find_whole_number(fields, "n", _COUNT_MAX) or 1,
        tokens=frames * _tokens(model, size, quality),
        partial_images=find_whole_number(fields, "partial_images", _COUNT_MAX, minimum=0) or 0,
        variants=(_variant(size or _SIZE_DEFAULT, quality),),
        is_svg=kind == "svg",
    )


def image_bound(spec: ImageSpec, prompt: str, images_sent: int) -> Bound:
    """Return the most that *spec* can use, made from *prompt* and *images_sent* images.

    Each of several images is billed like a call of its own, its input included.
    """
    seen = len(prompt.encode()) + _FRAME_TOKENS + _SEEN_TOKENS_MAX * images_sent
    return Bound(
        input_tokens=spec.images * seen,
        output_tokens=spec.tokens + PARTIAL_IMAGE_TOKENS * spec.partial_images + _WRITTEN_TOKENS_MAX,
        choices=spec.images,
        inputs=spec.images,
        sees=images_sent > 0,
        draws=True,
        is_unpriced=spec.is_svg,
        units=Usage(images=spec.images),
    )


def _tokens(model: str, size: str | None, quality: str | None) -> int:
    """Return the tokens of an image: never fewer than `gpt-image-1` and `gpt-image-2` have.

    The first has one for each square of 16, 32 or 64 pixels and some more, the second a number of squares that
    depends on the quality only, times one that grows with the area.
    """
    exact = _SIZE.fullmatch(size or "")
    if exact is not None:
        pixels = int(exact[1]) * int(exact[2])
    else:
        pixels = _PIXELS_MAX_BEFORE_2 if model.startswith(_BEFORE_2) else _PIXELS_MAX
    is_measured = _MEASURED.fullmatch(model) is not None
    grid = _GRIDS.get(quality or "", _GRID_MAX) if is_measured else _GRID_MAX
    tokens = -(-grid * grid * (_AREA_OFFSET_PIXELS + pixels) // _AREA_PIXELS)
    return tokens if is_measured else 2 * tokens


def _variant(size: str, quality: str | None) -> str:
    return size if quality in (None, "standard") else f"{quality}/{size}"
