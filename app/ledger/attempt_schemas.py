"""The receipt of one call with all its attempts on the wire."""

from collections.abc import Sequence
from typing import Final

from pydantic import ConfigDict, Field

from app.core.money import Nano, usd_text
from app.core.shape import Shape
from app.ledger.entries import Ending, Entry, Outcome
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
                "call_cost_usd": RECEIPT_EXAMPLE["cost_usd"],
            }
        }
    )

    attempts: list[AttemptView] = Field(description="In the order in which they ended; each was charged by itself.")
    call_cost_usd: str = Field(description="What all attempts cost together, in exact decimal dollars.")

    @classmethod
    def of_call(cls, entries: Sequence[Entry]) -> "CallReceipt":
        """Return the receipt of the call whose attempts are *entries*, the last first."""
        return cls(
            **Receipt.of(entries[0]).model_dump(),
            attempts=[AttemptView.of(entry) for entry in reversed(entries)],
            call_cost_usd=usd_text(Nano(sum(entry.cost_nano for entry in entries))),
        )
