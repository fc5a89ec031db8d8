"""The simulator's words: a small answer about the question, and a rule of its own for what a token is.

A token is a word of up to 24 letters or digits with the one sign or space before it, or a run of signs, or a run of
white space: about what GPT's tokenizers split a text into first. Never a real vocabulary: it must be fast.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import cycle, islice
from typing import Final

_TOKEN: Final = re.compile(r"[^\w\r\n]?\w{1,24}(?:'\w{1,8})?| ?[^\w\s]+|\s+")
QUESTION_LENGTH_MAX: Final = 500
_EXCERPT_LENGTH_MAX: Final = 120


def split_tokens(text: str) -> Sequence[str]:
    """Return the tokens of *text*, which joined are *text* again."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """Return how many tokens *text* has."""
    return len(_TOKEN.findall(text))


@lru_cache(maxsize=256)
def answer_tokens(model: str, question: str) -> Sequence[str]:
    """Return the tokens of the demonstration answer of *model* to *question*; the same for the same two."""
    excerpt = " ".join(question.split())
    if len(excerpt) > _EXCERPT_LENGTH_MAX:
        excerpt = excerpt[:_EXCERPT_LENGTH_MAX] + "…"
    return tuple(split_tokens(f'You wrote: "{excerpt}". I am {model} of the simulator: I only repeat what I am told.'))


def fit_tokens(tokens: Sequence[str], count: int) -> Sequence[str]:
    """Return exactly *count* tokens: the first of *tokens*, then filler that does not merge with what is before it."""
    return (*tokens[:count], *islice(cycle(_FILLER), max(0, count - len(tokens))))


_FILLER: Final = split_tokens(" The river rises, the weir holds its level, and every drop that passes is counted.")
