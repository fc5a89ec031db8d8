"""A page of a list, as OpenAI's lists are paged: after the last item that the caller has seen.

https://platform.openai.com/docs/api-reference/files/list
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

Item = TypeVar("Item")
Order = Literal["asc", "desc"]


class Paging(NamedTuple):
    """What a caller asks for: up to `limit` items that come after the one with the id `after`."""

    after: str | None = None
    limit: int = 20
    order: Order = "asc"


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Items in order, and whether others come after them."""

    items: Sequence[Item]
    has_more: bool

    @classmethod
    def of(cls, found: Sequence[Item], limit: int) -> "Page[Item]":
        """Return the page of *limit* items, given one item more than that if there is one."""
        return cls(found[:limit], len(found) > limit)
