"""Texts to embed or complete: one or several, as text or as arrays of token ids. Pure.

https://platform.openai.com/docs/api-reference/embeddings/create (input)
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from app.gateway.usage import text_tokens
from app.prices.service import Bound

_FRAME_TOKENS: Final = 8
"""What a model is told around each of the texts."""
_STRING_TOKENS: Final = 4


class TextInput(NamedTuple):
    """What a request is about."""

    inputs: int
    """How many texts, each of which the model reads by itself."""
    texts: list[str]
    token_ids: int = 0
    """Of those that are written as arrays of them."""
    is_unknown: bool = False
    """Some of it is neither text nor token ids, as other servers than OpenAI's may take."""
    suffix: str = ""
    """Read with each of the texts."""

    @property
    def bound(self) -> Bound:
        """The most that it can use: text is at most a token for each of its bytes."""
        return self._bound(self._sum(lambda text: len(text.encode())))

    def counted_bound(self, count: Callable[[str], int]) -> Bound:
        """Return the most that it can use, its text counted in tokens by *count*."""
        return self._bound(self._sum(lambda text: min(len(text.encode()), count(text) + _STRING_TOKENS)))

    def estimated_tokens(self) -> int:
        """Return about how many tokens it has."""
        return self.token_ids + self._sum(lambda text: text_tokens(text.encode()))

    def _sum(self, size: Callable[[str], int]) -> int:
        """Return the sum of the sizes of all texts; that of the suffix is found once, however many read it."""
        return sum(map(size, self.texts)) + (self.inputs * size(self.suffix) if self.suffix else 0)

    def _bound(self, text_tokens_max: int) -> Bound:
        return Bound(
            input_tokens=text_tokens_max + self.token_ids + _FRAME_TOKENS * self.inputs,
            output_tokens=0,
            inputs=self.inputs,
            fills_context=self.is_unknown,
            hears=self.is_unknown,
            sees=self.is_unknown,
        )


def read_text_input(value: Any) -> TextInput:
    """Return what *value* holds: a string, an array of strings, of token ids, or of arrays of token ids."""
    if isinstance(value, str):
        return TextInput(1, [value])
    items = value if isinstance(value, list) else [value]
    if items and all(type(item) is int for item in items):
        return TextInput(1, [], len(items))
    texts = [item for item in items if isinstance(item, str)]
    arrays = [item for item in items if isinstance(item, list) and all(type(token) is int for token in item)]
    is_unknown = len(texts) + len(arrays) < len(items)
    return TextInput(max(1, len(items)), texts, sum(map(len, arrays)), is_unknown)
