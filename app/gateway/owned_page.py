"""A page of a project's own objects, picked out of an upstream's list page by page. Pure.

https://platform.openai.com/docs/api-reference/chat/list
"""

from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

from app.errors import IntegerTooLarge, InvalidType
from app.gateway.usage import objects
from app.ownership_errors import ListTooLong

_LIMIT_DEFAULT: Final = 20
_LIMIT_MAX: Final = 100


class PageQuery(NamedTuple):
    """What is asked of a list."""

    limit: int
    after: str | None
    others: list[tuple[str, str]]
    """Parameters that the upstream is asked with as they are."""

    @classmethod
    def of(cls, query: str) -> "PageQuery":
        """Return what *query* says; raises InvalidType or IntegerTooLarge for its `limit`."""
        parameters = parse_qsl(query, keep_blank_values=True)
        given = dict(parameters)
        others = [(name, value) for name, value in parameters if name not in ("limit", "after")]
        return cls(_limit(given.get("limit")), given.get("after") or None, others)


def _limit(text: str | None) -> int:
    if text is None:
        return _LIMIT_DEFAULT
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidType("limit", expected="an integer", got="something else")
    if int(text) > _LIMIT_MAX:
        raise IntegerTooLarge("limit", _LIMIT_MAX, int(text))
    return int(text)


class PageScan:
    """Goes through lists of upstreams until there is one object more than the page takes, or no more."""

    def __init__(self, query: PageQuery, pages_max: int) -> None:
        self._query = query
        self._pages_left = pages_max
        self._after = query.after
        self._found: list[dict[str, Any]] = []
        self._taken: list[dict[str, Any]] = []
        self._is_at_end = True

    def begin(self) -> None:
        """Begin with the next upstream; only the first one is asked from behind `after`."""
        self._is_at_end = False

    @property
    def wants_more(self) -> bool:
        """Whether another page of this upstream is to be asked for."""
        return not self._is_at_end and len(self._found) <= self._query.limit and self._pages_left > 0

    def query(self) -> str:
        """Return the query of the next page."""
        after = [] if self._after is None else [("after", self._after)]
        return urlencode([*self._query.others, *after, ("limit", str(_LIMIT_MAX))])

    def take(self, page: dict[str, Any]) -> list[str]:
        """Take a page of the upstream and return the ids on it; then say with `keep` which are the project's."""
        self._taken = [item for item in objects(page.get("data")) if isinstance(item.get("id"), str)]
        self._pages_left -= 1
        last = self._taken[-1]["id"] if self._taken else None
        # One that has more but does not get on would be asked for ever.
        self._is_at_end = page.get("has_more") is not True or last in (None, self._after)
        self._after = None if self._is_at_end else last
        return [item["id"] for item in self._taken]

    def keep(self, owned: AbstractSet[str]) -> None:
        """Keep of the page that was taken what is the project's."""
        self._found += [item for item in self._taken if item["id"] in owned]

    def page(self) -> dict[str, Any]:
        """Return the page; raises ListTooLong when it would be empty although there may be some."""
        data = self._found[: self._query.limit]
        if not self._found and not self._is_at_end:
            raise ListTooLong
        ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
        has_more = len(self._found) > self._query.limit or not self._is_at_end
        return {"object": "list", "data": data, **ends, "has_more": has_more}
