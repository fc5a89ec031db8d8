"""One page of the provider's costs API, read exactly: amounts become decimals straight from the text, never floats.

https://platform.openai.com/docs/api-reference/usage/costs
"""

import json
from decimal import Decimal
from typing import Annotated, Literal, NamedTuple, NoReturn

from pydantic import Field, StringConstraints, ValidationError

from app.core.shape import Shape

# No day of anybody's costs more; beyond it is an answer that makes no sense.
_Dollars = Annotated[Decimal, Field(ge=-(10**9), le=10**9)]
# It is printed and stored: no control characters.
_Name = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]


class _Amount(Shape):
    value: _Dollars
    currency: Literal["usd"]


class _Result(Shape):
    amount: _Amount
    line_item: _Name | None


class _Bucket(Shape):
    start_time: int
    results: list[_Result]


class _Page(Shape):
    object: Literal["page"]
    data: list[_Bucket]
    has_more: bool
    next_page: Annotated[str, Field(min_length=1, max_length=10_000)] | None = None


class CostsPage(NamedTuple):
    """What one page says of one day."""

    costs: list[tuple[str, Decimal]]
    """Line items and dollars, as they came; costs that have no line item have the name ""."""
    next_page: str | None


def read_costs_page(text: str, begin: int) -> CostsPage:
    """Return the page in *text* about the day that begins at *begin*, in Unix seconds.

    Raises ValueError, with one line that says where, for what is not such a page.
    """
    try:
        page = _Page.model_validate(json.loads(text, parse_float=Decimal, parse_constant=_refuse))
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, problem["loc"])) or "the answer"
        raise ValueError(f"{where}: {problem['msg']}") from None
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    for bucket in page.data:
        if bucket.start_time != begin:
            raise ValueError(f"it has a bucket from {bucket.start_time} on, and {begin} was asked for")
    if page.has_more and page.next_page is None:
        raise ValueError("there is more, and no next_page")
    costs = [(result.line_item or "", result.amount.value) for bucket in page.data for result in bucket.results]
    return CostsPage(costs, page.next_page if page.has_more else None)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
