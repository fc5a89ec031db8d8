"""Spend limits on the wire, in OpenAI's shape; amounts are whole cents.

https://platform.openai.com/docs/api-reference/administration
"""

from typing import Final, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.budgets.budget import LIMIT_NANO_MAX
from app.budgets.record import NANO_PER_CENT, BudgetRecord
from app.core.shape import Shape

CENTS_MAX: Final = LIMIT_NANO_MAX // NANO_PER_CENT
_LIMIT_EXAMPLE: Final[JsonDict] = {"threshold_amount": 25000, "currency": "USD", "interval": "month"}

Owner = Literal["organization", "project"]


class SpendLimitUpdate(Shape):
    """A hard limit for each calendar month in UTC."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _LIMIT_EXAMPLE})

    threshold_amount: int = Field(strict=True, ge=1, le=CENTS_MAX, description="In cents.")
    currency: Literal["USD"]
    interval: Literal["month"]


class Enforcement(Shape):
    """Whether calls that do not fit are refused: not while the budget behind the limit is paused or only observes."""

    status: Literal["inactive", "enforcing"]


class SpendLimit(Shape):
    """A hard limit; `/v1/gateway/budgets?scope=...` shows the budget behind it, with what is spent."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "object": "organization.spend_limit",
                **_LIMIT_EXAMPLE,
                "enforcement": {"status": "enforcing"},
            }
        }
    )

    object: Literal["organization.spend_limit", "project.spend_limit"]
    threshold_amount: int = Field(description="In cents.")
    currency: Literal["USD"] = "USD"
    interval: Literal["month"] = "month"
    enforcement: Enforcement

    @classmethod
    def of(cls, owner: Owner, record: BudgetRecord) -> "SpendLimit":
        """Return the limit that *record* is; a fraction of a cent, which only budgets have, is left out."""
        return cls(
            object=f"{owner}.spend_limit",
            threshold_amount=record.limit_nano // NANO_PER_CENT,
            enforcement=Enforcement(status="enforcing" if record.is_enforcing else "inactive"),
        )


class SpendLimitDeleted(Shape):
    """The limit is gone."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"object": "organization.spend_limit.deleted", "deleted": True}}
    )

    object: Literal["organization.spend_limit.deleted", "project.spend_limit.deleted"]
    deleted: bool = True
