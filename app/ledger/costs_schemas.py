"""What may be asked of the costs API, and its answers. A number is for charts; the exact amount is the text beside it.

https://platform.openai.com/docs/api-reference/usage/costs
"""

from datetime import UTC, date, datetime, time
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import ConfigDict, Field, PlainSerializer, ValidationInfo, WithJsonSchema, field_validator

from app.core.money import NANO_PER_USD, Nano, usd_text
from app.core.shape import Shape
from app.ledger.bill import Group
from app.ledger.bill_schemas import BucketsQuery, Names, Page, example


def _dollars(nano: Nano) -> object:
    return nano / NANO_PER_USD


WireDollars = Annotated[Nano, PlainSerializer(_dollars), WithJsonSchema({"type": "number"})]
"""Nano-dollars here, and dollars on the wire: the nearest number that JSON's readers can hold."""


Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(2100, 1, 1))]
CSV_EXAMPLE: Final = (
    "date,project_id,user_id,api_key_id,model,service_tier,requests,input_tokens,cached_input_tokens,output_tokens,"
    "cost_usd\r\n2026-11-22,proj_default,,key_5a1b,gpt-4o-mini-2024-07-18,default,2,1200,1024,300,0.0002832\r\n"
)


class CostsQuery(BucketsQuery):
    """A question about costs."""

    limits: ClassVar = {"1d": (7, 180)}
    columns: ClassVar = {**BucketsQuery.columns, "line_items": "model"}

    bucket_width: Literal["1d"] = Field("1d", description="Days in UTC.")
    line_items: Names = Field([], description="Only costs of these line items, which are names of models.")
    group_by: list[Literal["project_id", "user_id", "line_item", "api_key_id", "api_source"]] = Field(
        [], description="What sums are kept apart by; a field that is not named here is null in the results."
    )


class CostsCsvQuery(Shape):
    """A question about the costs of whole days."""

    model_config = ConfigDict(extra="forbid")

    start_date: Day = Field(description="First day, in UTC, such as `2026-11-01`.")
    end_date: Day | None = Field(None, description="The day after the last one; by default tomorrow.")

    @field_validator("end_date")
    @classmethod
    def _ends_after_it_starts(cls, end_date: date | None, given: ValidationInfo) -> date | None:
        if end_date is not None and end_date <= given.data.get("start_date", date.min):
            raise ValueError("must be after start_date")
        return end_date

    @property
    def begin(self) -> datetime:
        """The first moment."""
        return datetime.combine(self.start_date, time(), UTC)

    @property
    def end(self) -> datetime | None:
        """The moment after the last one."""
        return None if self.end_date is None else datetime.combine(self.end_date, time(), UTC)


class Amount(Shape):
    """Money."""

    value: WireDollars = Field(description="Dollars, rounded to what a JSON number can hold.")
    currency: Literal["usd"] = "usd"
    exact: str = Field(description="The same in exact decimal dollars; these add up to the ledger.")


class CostsResult(Shape):
    """What one group cost."""

    object: Literal["organization.costs.result"] = "organization.costs.result"
    amount: Amount
    line_item: str | None = Field(None, description="The model that answered.")
    project_id: str | None = None
    api_key_id: str | None = None
    user_id: str | None = None
    api_source: Literal["unlabeled"] | None = None
    quantity: None = None
    quantity_unit: None = None

    @classmethod
    def of(cls, group: Group) -> Self:
        """Return *group* as it is sent."""
        return cls.model_validate({"amount": _amount(group.total.cost_nano), **group.key})


def _amount(cost_nano: Nano) -> Amount:
    return Amount(value=cost_nano, exact=usd_text(cost_nano))


class CostsPage(Page[CostsResult]):
    """Costs."""

    model_config = example(
        CostsResult(amount=_amount(Nano(283_200)), line_item="gpt-4o-mini-2024-07-18").model_dump(mode="json")
    )
