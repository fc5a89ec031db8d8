"""GET /v1/organization/costs: the simulator's bill in buckets of a day, on pages, as OpenAI's costs API has it.

https://platform.openai.com/docs/api-reference/usage/costs
"""

from decimal import Decimal
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

import orjson

from app.core.clock import utc_now
from app.simulator.costs import DAY_SECONDS, Costs
from app.simulator.refusal import Refusal, invalid_value, missing_parameter

_LIMIT_DEFAULT: Final = 7
_LIMIT_MAX: Final = 180
_PAGE_PREFIX: Final = "page_"
_KNOWN: Final = {"start_time", "end_time", "bucket_width", "limit", "page", "group_by"}


class _Question(NamedTuple):
    first_day: int
    end_day: int
    """The day after the last one; days are counted from 1970-01-01."""
    limit: int
    by_line_item: bool


def costs_body(costs: Costs, query: bytes) -> bytes:
    """Return the page that *query* asks for as JSON; raises Refusal (400)."""
    asked = _read(query)
    after = min(asked.first_day + asked.limit, asked.end_day)
    has_more = after < asked.end_day
    page = {
        "object": "page",
        "data": [_bucket(costs, day, by_line_item=asked.by_line_item) for day in range(asked.first_day, after)],
        "has_more": has_more,
        "next_page": f"{_PAGE_PREFIX}{after}" if has_more else None,
    }
    return orjson.dumps(page)


def _bucket(costs: Costs, day: int, *, by_line_item: bool) -> dict[str, Any]:
    items: dict[Any, Decimal] = dict(costs.of_day(day))
    if not by_line_item and items:
        items = {None: sum(items.values(), Decimal(0))}
    return {
        "object": "bucket",
        "start_time": day * DAY_SECONDS,
        "end_time": (day + 1) * DAY_SECONDS,
        "results": [_result(line_item, usd) for line_item, usd in items.items()],
    }


def _result(line_item: str | None, usd: Decimal) -> dict[str, Any]:
    return {
        "object": "organization.costs.result",
        "amount": {"value": float(usd), "currency": "usd"},
        "line_item": line_item,
        "project_id": None,
        "api_key_id": None,
        "quantity": None,
    }


def _read(query: bytes) -> _Question:
    parameters = {
        name.removesuffix("[]"): values
        for name, values in parse_qs(query.decode("latin-1"), keep_blank_values=True).items()
    }
    for name in parameters:
        if name not in _KNOWN:
            raise Refusal(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    if "start_time" not in parameters:
        raise missing_parameter("start_time")
    groups = parameters.get("group_by", [])
    if set(groups) - {"line_item"}:
        raise invalid_value("group_by", "Invalid value for 'group_by': the simulator groups by 'line_item' only.")
    if parameters.get("bucket_width", ["1d"]) != ["1d"]:
        raise invalid_value("bucket_width", "Invalid value for 'bucket_width': supported values are: '1d'.")
    first_day = _number(parameters, "start_time", 0) // DAY_SECONDS
    end_day = -(-_number(parameters, "end_time", int(utc_now().timestamp()) + 1) // DAY_SECONDS)
    if end_day <= first_day:
        raise invalid_value("end_time", "Invalid 'end_time': it must be after 'start_time'.")
    limit = _number(parameters, "limit", _LIMIT_DEFAULT)
    if not 1 <= limit <= _LIMIT_MAX:
        raise invalid_value("limit", f"Invalid 'limit': expected a number from 1 to {_LIMIT_MAX}.")
    if "page" in parameters:
        first_day = _day_of(parameters["page"][-1], first_day, end_day)
    return _Question(first_day, end_day, limit, by_line_item=bool(groups))


def _number(parameters: dict[str, list[str]], name: str, default: int) -> int:
    text = parameters.get(name, [str(default)])[-1]
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise invalid_value(name, f"Invalid '{name}': expected a whole number.")
    return int(text)


def _day_of(page: str, first_day: int, end_day: int) -> int:
    text = page.removeprefix(_PAGE_PREFIX)
    if not (text.isascii() and text.isdigit() and len(text) <= 12) or not first_day < int(text) < end_day:
        raise invalid_value("page", "Invalid 'page': it is not the 'next_page' of this query.")
    return int(text)
