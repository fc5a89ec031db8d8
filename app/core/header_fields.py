"""Headers by their names; nobody decodes those that are not asked for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class HeaderFields(Mapping[str, str]):
    """The values of *raw* headers, whose names are in lower case; the first of repeated ones.

    What is not ASCII in them is read as *encoding* and *errors* have it: HTTP says nothing about it (RFC 9110, 5.5).
    """

    __slots__ = ("_encoding", "_errors", "_first")

    def __init__(
        self, raw: Sequence[tuple[bytes, bytes]], *, encoding: str = "latin-1", errors: str = "strict"
    ) -> None:
        self._first = dict(reversed(raw))
        self._encoding = encoding
        self._errors = errors

    def get(self, name: str, default: Any = None, /) -> Any:
        """Return the value of one header, *default* without it."""
        value = self._first.get(name.encode())
        return default if value is None else value.decode(self._encoding, self._errors)

    def __getitem__(self, name: str) -> str:
        return self._first[name.encode()].decode(self._encoding, self._errors)

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._first)

    def __len__(self) -> int:
        return len(self._first)
