"""Counts the input of a call in its model's own tokens, for a call that the cheap bound keeps out of a budget.

The vocabularies come with Weir and are never fetched; each is read when it is first needed and takes about 55 MiB.
"""

import asyncio
import base64
import gzip
import hashlib
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from app.core.imports import lazily
from app.gateway.operations.operation import Charged, MeteredRequest
from app.prices.service import Bound

if TYPE_CHECKING:
    import tiktoken
else:
    tiktoken = lazily("tiktoken")

_log: Final = structlog.get_logger()
_FOLDER: Final = Path(__file__).with_name("vocabularies")
_BYTES_MAX: Final = 1_048_576
"""A larger request keeps its cheap bound: counting it would take a tenth of a second of CPU."""
_BYTES_MAX_IN_LOOP: Final = 65_536
_PIECE_CHARACTERS: Final = 4_096
"""The tokenizer takes the square of the length of a word in time, and a word may be as long as the text."""


class _Vocabulary(NamedTuple):
    sha256: str
    pattern: str
    """Splits text into words; tokens never go across them."""


# As in `tiktoken_ext/openai_public.py`, which would fetch the vocabularies.
_O200K: Final = _Vocabulary(
    "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
    r"""|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
    r"""|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
)
_CL100K: Final = _Vocabulary(
    "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"""
    r"""|\s+(?!\S)|\s""",
)
_VOCABULARIES: Final = {"o200k_base": _O200K, "cl100k_base": _CL100K}
_SAME_WORDS: Final = {"o200k_harmony": "o200k_base"}


class TokenCounts:
    """Counts tokens; keeps each vocabulary that it has read."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._folder = folder
        self._encodings: dict[str, tiktoken.Encoding | None] = {}
        self._loading = threading.Lock()

    async def exact_bound(self, operation: Charged, request: MeteredRequest, model: str) -> Bound | None:
        """Return the bound of *request* with its text counted in tokens of *model*; it is never above `request.bound`.

        None for a model whose vocabulary is not known, and for a request of more than a megabyte.
        """
        name = _vocabulary_of(model)
        if name is None or len(request.body) > _BYTES_MAX:
            return None
        if name in self._encodings and len(request.body) <= _BYTES_MAX_IN_LOOP:
            return self._count(operation, request, name)
        return await asyncio.to_thread(self._count, operation, request, name)

    def _count(self, operation: Charged, request: MeteredRequest, name: str) -> Bound | None:
        encoding = self._encoding(name)
        if encoding is None:
            return None

        def count(text: str) -> int:
            pieces = [text[start : start + _PIECE_CHARACTERS] for start in range(0, len(text), _PIECE_CHARACTERS)]
            return len(pieces) + sum(len(encoding.encode_ordinary(piece)) for piece in pieces)

        return operation.counted_bound(request, count)

    def _encoding(self, name: str) -> "tiktoken.Encoding | None":
        if name not in self._encodings:
            with self._loading:
                if name not in self._encodings:
                    self._encodings[name] = self._load(name)
        return self._encodings[name]

    def _load(self, name: str) -> "tiktoken.Encoding | None":
        """Return an encoding, None where its file is damaged: calls then keep their cheap bound, which is safe."""
        vocabulary = _VOCABULARIES[name]
        try:
            content = gzip.decompress((self._folder / f"{name}.tiktoken.gz").read_bytes())
        except (OSError, EOFError, zlib.error):
            content = b""
        if hashlib.sha256(content).hexdigest() != vocabulary.sha256:
            _log.error(
                "vocabulary_damaged", vocabulary=name, advice="install Weir anew; tokens are not counted exactly"
            )
            return None
        words = (line.split() for line in content.splitlines())
        ranks = {base64.b64decode(token): int(rank) for token, rank in words}
        return tiktoken.Encoding(name, pat_str=vocabulary.pattern, mergeable_ranks=ranks, special_tokens={})


def _vocabulary_of(model: str) -> str | None:
    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:
        return None
    name = _SAME_WORDS.get(name, name)
    return name if name in _VOCABULARIES else None
