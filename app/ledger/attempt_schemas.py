"""The receipt of one call with all its attempts on the wire."""

from typing import Final

from pydantic import ConfigDict, Field

from app.core.money import usd_text
from app.core.shape import Shape
from app.ledger.entries import Ending, Entry, Outcome
from app.ledger.receipt_query import Attempts
from app.ledger.schemas import RECEIPT_EXAMPLE, Receipt

_IN_SHORT: Final = ("attempt_id", "upstream", "model", "status", "outcome", "ending", "cost_usd")


class AttemptView(Shape):
    """One attempt at an upstream."""

    attempt_id: str
    upstream: str | None
    model: str = Field(description="The model that was asked for there.")
    status: int = Field(description="The HTTP status that the caller got, or would have got.")
    outcome: Outcome
    ending: Ending
    cost_usd: str = Field(description="Exact decimal dollars.")

    @classmethod
    def of(cls, entry: Entry) -> "AttemptView":
        """Return *entry* as it is shown."""
        return cls(
            attempt_id=str(entry.id),
            upstream=entry.upstream or None,
            model=entry.model,
            status=entry.status,
            outcome=entry.outcome,
            ending=entry.ending,
            cost_usd=usd_text(entry.cost_nano),
        )


class CallReceipt(Receipt):
    """One call: its last attempt in full, and every attempt in short."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                **RECEIPT_EXAMPLE,
                "attempts": [{name: RECEIPT_EXAMPLE[name] for name in _IN_SHORT}],
                "has_more_attempts": False,
                "call_cost_usd": RECEIPT_EXAMPLE["cost_usd"],
            }
        }
    )

    attempts: list[AttemptView] = Field(description="In the order in which they ended; each was charged by itself.")
    has_more_attempts: bool = Field(description="Whether there were earlier attempts than those.")
    call_cost_usd: str = Field(
        description="What all attempts cost together, in exact decimal dollars, also earlier ones."
    )

    @classmethod
    def of_call(cls, attempts: Attempts) -> "CallReceipt":
        """Return the receipt of the call with these *attempts*."""
        return cls(
            **Receipt.of(attempts.entries[0]).model_dump(),
            attempts=[AttemptView.of(entry) for entry in reversed(attempts.entries)],
            has_more_attempts=attempts.has_more,
            call_cost_usd=usd_text(attempts.cost_nano),
        )
