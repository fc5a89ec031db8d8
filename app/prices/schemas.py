"""Prices on the wire: as `app/prices/prices.json` writes them, with every amount a decimal string in dollars."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic.config import JsonDict

from app.core.pagination import Order, Page, Paging
from app.core.shape import Shape
from app.prices.rates import nano_from_usd_text
from app.prices.record import PriceFilter, PriceRecord

_USD_MAX: Final = 100_000
"""Above any real price; a million dollars per token would leave the range of what the ledger can add up."""
_EXAMPLE: Final[JsonDict] = {
    "model": "my-model",
    "service_tier": "default",
    "rates": {"input": "0.60", "cached_input": "0.06", "output": "2.40"},
    "output_tokens_max": 16384,
}
_MODEL: Final = r"^[^\s*\x00]*\*?$"


def _decimal_dollars(value: Any) -> str:
    try:
        nano_from_usd_text(value)
    except ValueError:
        raise ValueError(
            'must be decimal dollars in a string such as "2.50", with at most 9 digits after the point'
        ) from None
    text = str(value)
    if Decimal(text) > _USD_MAX:
        raise ValueError(f"must be at most {_USD_MAX} dollars")
    return text


def _in_utc(moment: datetime) -> datetime:
    """Return *moment* in UTC, which is what one without an offset is in already."""
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be in the years 1 to 9999 in UTC") from None


Moment = Annotated[datetime, AfterValidator(_in_utc)]
Tier = Literal["default", "flex", "priority", "ultrafast", "batch"]
Name = Annotated[str, StringConstraints(min_length=1, max_length=600, pattern=r"^[^\x00]*$")]
Usd = Annotated[
    str, BeforeValidator(_decimal_dollars), WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,9})?$"})
]
Amounts = dict[str, Usd]
Tokens = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)]


class PricesQuery(Shape):
    """Which prices to list. A parameter that does not exist is refused: misspelt, it would find too many."""

    model_config = ConfigDict(extra="forbid")

    model: Name | None = Field(None, description="Only prices of this name, and of patterns that match it.")
    service_tier: Tier | None = Field(None, description="Only prices of this tier.")
    source: Name | None = Field(None, description="`operator` for your own; shipped ones name where they come from.")
    at: Moment | None = Field(None, description="Only what is in force then: one for each model and tier.")
    limit: int = Field(20, ge=1, le=100)
    order: Order = Field("asc", description="By id, which begins with the model and ends with date and source.")
    after: Name | None = Field(None, description="The `last_id` of the page before.")

    def filter(self) -> PriceFilter:
        """Return which prices are wanted."""
        return PriceFilter(self.model, self.service_tier, self.source, self.at)

    def paging(self) -> Paging:
        """Return which page is wanted."""
        return Paging(self.after, self.limit, self.order)


class LongContext(Shape):
    """What every token of a call costs whose input is above a number of tokens."""

    model_config = ConfigDict(extra="forbid")

    above_input_tokens: Tokens
    rates: Amounts = Field(description="Only those that differ.")


class NewPrice(Shape):
    """An operator's price for a model, or for all models whose name begins so."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _EXAMPLE})

    model: Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=_MODEL)] = Field(
        description="An exact name, a prefix and `*`, or `*` alone for every model that has no other price."
    )
    service_tier: Tier = "default"
    valid_from: Moment | None = Field(None, description="From when on calls are charged by it; by default from now.")
    rates: Amounts = Field(
        {}, description="Dollars per million: `input`, `cached_input`, `output`, `input_audio` and so on."
    )
    long_context: LongContext | None = None
    per_unit_usd: Amounts = Field({}, description="Dollars for one: `web_searches`, `images`, `audio_minutes`.")
    per_request_usd: Usd | None = Field(None, description="Owed once for each call.")
    context_tokens_max: Tokens | None = Field(None, description="What fits into the model.")
    output_tokens_max: Tokens | None = Field(None, description="The most that it can answer with.")
    withdrawn: bool = Field(
        False,
        description="True, and no amounts: from `valid_from` on your own price for this model and tier counts no more, "
        "and the one that Weir ships with does, if there is one.",
    )

    def document(self) -> dict[str, Any]:
        """Return the price as a row of a price file, without its date and source."""
        given = self.model_dump(exclude_none=True, exclude={"valid_from"})
        return {name: value for name, value in given.items() if value not in ({}, False)}


class PriceObject(Shape):
    """One price. It never changes; a newer one of the same source takes its place from its date on."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "object": "gateway.price",
                "id": "my-model/default/2027-01-01T00:00:00+00:00/operator",
                **_EXAMPLE,
                "valid_from": "2027-01-01T00:00:00+00:00",
                "source": "operator",
                "created_at": 1795361640,
            }
        }
    )
    object: Literal["gateway.price"] = "gateway.price"
    id: str
    model: str
    service_tier: str
    valid_from: str
    rates: dict[str, str] = Field({})
    long_context: dict[str, Any] | None = None
    per_unit_usd: dict[str, str] = Field({})
    per_request_usd: str | None = None
    context_tokens_max: int | None = None
    output_tokens_max: int | None = None
    withdrawn: bool = False
    """From its date on there is no price of your own for this model and tier."""
    source: str
    """`operator` for one that was added here, else where the shipped one comes from."""
    created_at: int
    """Unix seconds."""

    @classmethod
    def of(cls, record: PriceRecord) -> "PriceObject":
        """Return *record* as it is shown."""
        return cls(id=record.id, created_at=int(record.created_at.timestamp()), **record.document)


class PriceList(Shape):
    """A page of prices; ask for the next one with `after` set to `last_id`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
        }
    )

    object: Literal["list"] = "list"
    data: list[PriceObject]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, page: Page[PriceRecord]) -> "PriceList":
        """Return *page* as it is shown."""
        data = [PriceObject.of(record) for record in page.items]
        ids: list[str | None] = [*(price.id for price in data)] or [None]
        return cls(data=data, first_id=ids[0], last_id=ids[-1], has_more=page.has_more)
