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


class ImageStream(EventStream):
    """A stream of images, each of about *image_tokens*."""

    NOTABLE = (re.compile(rb'"type"\s*:\s*"(?:image_\w+\.completed|error)"|"error"\s*:\s*[{"]'),)
    END = re.compile(rb'"type"\s*:\s*"image_\w+\.completed"')
    EVENT_BYTES_MAX = 67_108_864

    def __init__(self, image_tokens: int) -> None:
        super().__init__()
        self._image_tokens = image_tokens
        self._is_begun = False

    def learn(self, document: dict[str, Any]) -> bool:
        """Learn from a finished image, whose usage adds up with that of the others, or from an error."""
        if usage := image_usage(document.get("usage"), images=1):
            self.usage = Usage._make(map(add, self.usage or Usage(), usage))
        self.has_error = self.has_error or bool(document.get("error")) or document.get("type") == "error"
        return True

    def tokens_of(self, document: dict[str, Any]) -> int:
        """Return about how many tokens an event is: the first of an image is as good as the whole of it."""
        if not isinstance(document.get("b64_json"), str):
            return 0
        tokens = PARTIAL_IMAGE_TOKENS if self._is_begun else self._image_tokens
        self._is_begun = not str(document.get("type")).endswith(_COMPLETED)
        return tokens
