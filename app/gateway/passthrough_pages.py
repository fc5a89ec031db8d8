"""Lists of stored objects, kept to those of one project: page by page, with the ends and the `has_more` true. Pure.

https://platform.openai.com/docs/api-reference/files/list (and every other list by `after` and `limit`)
"""

from collections.abc import Set as AbstractSet
from typing import Any, Final
from urllib.parse import parse_qs, quote

import orjson

from app.gateway.body import json_object
from app.gateway.usage import objects

_PAGES_MAX: Final = 20
"""Asked for one page of a project, whose objects may be few among many."""
_LIMIT: Final = 100
_DECIDED: Final = ("after", "limit")
_EMPTY: Final[dict[str, Any]] = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


class FilteredList:
    """A list on its way: `read` and `keep` each page of an upstream until `is_done`."""

    def __init__(self, query: str, *, is_empty: bool = False) -> None:
        """*is_empty*: the project has stored nothing of the kind; a page is asked for to see what a list looks like."""
        self.query = query
        """Of the next page; the first one is asked for as the caller did."""
        self.is_done = False
        self.kept: list[dict[str, Any]] = []
        self._own_query = query
        self._page: dict[str, Any] = _EMPTY
        self._first: dict[str, Any] = _EMPTY
        self._body: bytes | None = None
        self._limit: int | None = None
        self._has_more = False
        self._is_whole = True
        self._pages_left = _PAGES_MAX
        self._is_empty = is_empty

    def read(self, body: bytes) -> list[str] | None:
        """Return the ids in a page; None when it is no list."""
        page = json_object(body)
        if page is None or not isinstance(page.get("data"), list):
            return None
        if self._limit is None:
            self._first, self._body, self._limit = page, body, self._limit_of(page)
        self._page = page
        return [each["id"] for each in objects(page["data"]) if isinstance(each.get("id"), str)]

    def keep(self, owned: AbstractSet[str]) -> None:
        """Keep of the page that was read what is *owned*."""
        data = self._page["data"]
        kept = [each for each in objects(data) if each.get("id") in owned]
        is_first, is_all = self._pages_left == _PAGES_MAX, len(kept) == len(data)
        self._is_whole = is_first and is_all
        self._pages_left -= 1
        self.kept += kept
        last = data[-1].get("id") if data and isinstance(data[-1], dict) else None
        self._has_more = self._page.get("has_more") is True and isinstance(last, str) and not self._is_empty
        is_enough = len(self.kept) > (self._limit or 0) or self._is_whole or "before" in parse_qs(self._own_query)
        self.is_done = not self._has_more or is_enough or not self._pages_left
        self.query = self._query(str(last))

    def go_on(self) -> bool:
        """Go on with the list of another upstream; tell whether there is room for it."""
        if self._has_more or not self._pages_left or (self._limit is not None and len(self.kept) > self._limit):
            return False
        if self._limit is not None:
            self._is_whole, self.query = False, self._query(None)
        self.is_done = False
        return True

    def body(self) -> bytes:
        """Return what the caller gets: an upstream's own bytes if nothing had to be left out or added."""
        if self._is_whole and self._body is not None:
            return self._body
        data = self.kept[: self._limit]
        ids = [each["id"] for each in data]
        decided = {
            "data": data,
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
            "has_more": len(self.kept) > len(data) or self._has_more,
        }
        return orjson.dumps(self._first | {name: value for name, value in decided.items() if name in self._first})

    def _query(self, after: str | None) -> str:
        others = [part for part in self._own_query.split("&") if part and part.partition("=")[0] not in _DECIDED]
        return "&".join([*others, f"limit={_LIMIT}", *([] if after is None else [f"after={quote(after, safe='')}"])])

    def _limit_of(self, page: dict[str, Any]) -> int:
        """Return how many the caller gets at most: as many as asked for, or as many as the upstream gives unasked."""
        given = parse_qs(self._own_query).get("limit", [""])[-1]
        return int(given) if given.isdecimal() and len(given) < 6 else max(len(page["data"]), 1)
