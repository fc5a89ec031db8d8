"""What may be asked of the list of receipts."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from app.core.money import nano_from_usd
from app.core.shape import Shape
from app.ledger.bill_schemas import Name, UnixSeconds
from app.ledger.entries import Ending, Outcome
from app.ledger.receipt_query import ReceiptQuery

_Usd = Annotated[Decimal, Field(ge=0, le=9_000_000_000, decimal_places=9)]


class ReceiptsQuery(Shape):
    """Filters, all of which must hold, and a page. What does not exist is refused: it would filter nothing."""

    model_config = ConfigDict(extra="forbid")

    project_id: Name | None = Field(None, description="Only of this project; any but the caller's needs an admin key.")
    key_id: Name | None = Field(None, description="Only with this key.")
    user_id: Name | None = Field(None, description="Only with keys of this user.")
    model: Name | None = Field(None, description="Only where this model was asked for, or answered.")
    outcome: Outcome | None = Field(None, description="Only calls that ended so.")
    ending: Ending | None = Field(None, description="Only calls whose money ended so.")
    created_after: UnixSeconds | None = Field(None, description="Only from this moment on, in Unix seconds, inclusive.")
    created_before: UnixSeconds | None = Field(None, description="Only before this moment, in Unix seconds.")
    min_cost_usd: _Usd | None = Field(None, description="Only what cost so many dollars or more.")
    after: Name | None = Field(None, description="The `last_id` of the page before.")
    limit: int = Field(20, ge=1, le=100, description="Largest number of receipts on the page.")
    order: Literal["asc", "desc"] = Field("desc", description="`desc`: the newest first.")

    def asked(self) -> ReceiptQuery:
        """Return the question."""
        return ReceiptQuery(
            project_ids=None if self.project_id is None else (self.project_id,),
            key_id=self.key_id,
            user_id=self.user_id,
            model=self.model,
            outcome=self.outcome,
            ending=self.ending,
            created_after=_moment(self.created_after),
            created_before=_moment(self.created_before),
            cost_nano_min=None if self.min_cost_usd is None else nano_from_usd(self.min_cost_usd),
            after=self.after,
            limit=self.limit,
            newest_first=self.order == "desc",
        )


def _moment(unix_seconds: int | None) -> datetime | None:
    return None if unix_seconds is None else datetime.fromtimestamp(unix_seconds, UTC)
