"""The dialect of streams of images: unfinished ones, then each finished one with what it used.

https://platform.openai.com/docs/api-reference/images-streaming
"""

import re
from operator import add
from typing import Any

from app.gateway.image_bound import PARTIAL_IMAGE_TOKENS
from app.gateway.image_usage import image_usage
from app.gateway.stream import EventStream
from app.prices.usage import Usage

_COMPLETED = ".completed"
_PARTIAL = ".partial_image"


class ImageStream(EventStream):
    """A stream of so many *images*, each of about *image_tokens*; one after the other, each with a usage of its own."""

    NOTABLE = (re.compile(rb'"type"\s*:\s*"(?:image_\w+\.(?:completed|partial_image)|error)"|"error"\s*:\s*[{"]'),)
    END = re.compile(rb'"type"\s*:\s*"image_\w+\.completed"')
    EVENT_BYTES_MAX = 67_108_864

    def __init__(self, image_tokens: int, images: int) -> None:
        super().__init__()
        self._image_tokens = image_tokens
        self._left = images
        """How many are not finished yet."""
        self._is_inside = False
        """One is begun and not finished."""
        self._inside_tokens = 0
        """Of that one, as far as events were counted."""

    @property
    def has_whole_usage(self) -> bool:
        """Whether every image that was begun has said what it used."""
        return self.usage is not None and self.is_done

    def ends(self, event: bytes) -> bool:
        """Tell whether *event* is that of the last image."""
        return super().ends(event) and self._left <= 0

    def finish(self) -> bytes:
        """Return what is left to relay at the upstream's end: it may have made fewer images than were asked for."""
        piece = super().finish()
        self.is_done = self.is_done or (self.usage is not None and not self._is_inside)
        return piece

    def learn(self, document: dict[str, Any]) -> bool:
        """Learn from an image that is begun or finished, whose usage adds up with that of the others, or an error."""
        self._is_inside = str(document.get("type")).endswith(_PARTIAL)
        self._left -= str(document.get("type")).endswith(_COMPLETED)
        if usage := image_usage(document.get("usage"), images=1):
            self.usage = self.apart = Usage._make(map(add, self.usage or Usage(), usage))
        self.has_error = self.has_error or bool(document.get("error")) or document.get("type") == "error"
        return True

    def tokens_of(self, document: dict[str, Any]) -> int:
        """Return about how many tokens an event is: the first of an image is as good as the whole of it.

        Those of an image that says itself what it used are taken back.
        """
        if not isinstance(document.get("b64_json"), str):
            return 0
        tokens = PARTIAL_IMAGE_TOKENS if self._inside_tokens else self._image_tokens
        if not str(document.get("type")).endswith(_COMPLETED):
            self._inside_tokens += tokens
            return tokens
        counted, self._inside_tokens = self._inside_tokens, 0
        return tokens if image_usage(document.get("usage"), images=1) is None else -counted
