"""The receipt of a call, as `GET /v1/requests/{id}` shows it and `GET /v1/requests` lists it."""

from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from app.core.money import usd_text
from app.core.shape import Shape
from app.ledger.entries import Ending, Entry, Outcome
from app.ledger.receipt_query import ReceiptPage

RECEIPT_EXAMPLE: Final[dict[str, Any]] = {
    "id": "req_0f9a4be1c2d34f5a8b7c6d5e4f3a2b1c",
    "attempt_id": "0199a9be-1c2d-7f5a-8b7c-6d5e4f3a2b1c",
    "object": "weir.request",
    "created_at": 1795361640,
    "operation": "chat.completions",
    "model": "gpt-4o-mini",
    "answered_model": "gpt-4o-mini-2024-07-18",
    "service_tier": "default",
    "upstream": "openai",
    "upstream_request_id": "req_51d2",
    "project_id": "proj_default",
    "user_id": None,
    "key_id": "key_5a1b",
    "streamed": False,
    "status": 200,
    "outcome": "completed",
    "ending": "settled",
    "tokens": {
        "input": 1200,
        "cached_input": 1024,
        "cache_write": 0,
        "input_audio": 0,
        "output": 300,
        "reasoning": 0,
        "output_audio": 0,
        "other": {},
    },
    "cost_usd": "0.0002832",
    "ceiling_usd": "0.00098",
    "price_id": "price_3c1d",
    "timings": {"total_ms": 812.4, "upstream_ms": 810.9, "gateway_ms": 1.5, "first_byte_ms": 802.2},
    "flags": [],
}


class Tokens(Shape):
    """What was counted; the parts are included in the totals."""

    input: int
    cached_input: int = Field(description="Part of `input` that the upstream had cached.")
    cache_write: int = Field(description="Part of `input` that was written to the upstream's cache.")
    input_audio: int
    output: int
    reasoning: int = Field(description="Part of `output` that was not shown.")
    output_audio: int
    other: dict[str, int] = Field(description="Everything else that was counted, by name, such as `web_searches`.")


class Timings(Shape):
    """Durations in milliseconds."""

    total_ms: float = Field(description="From the request's first byte in to the answer's last byte out.")
    upstream_ms: float = Field(description="Spent waiting for the upstream, its whole answer included.")
    gateway_ms: float = Field(description="The rest: what Weir added.")
    first_byte_ms: float | None = Field(description="Until the first byte of the upstream's answer arrived.")


class Receipt(Shape):
    """One call: what it used, what it cost, who answered, how long it took, how it ended."""

    model_config = ConfigDict(json_schema_extra={"example": RECEIPT_EXAMPLE})

    id: str = Field(description="The `x-request-id` of the answer.")
    object: Literal["weir.request"] = "weir.request"
    attempt_id: str = Field(description="One attempt at an upstream; those of one request share its `id`.")
    created_at: int = Field(description="When the call arrived, in Unix seconds.")
    operation: str
    model: str = Field(description="The model that was asked for.")
    answered_model: str | None = Field(description="The model that the upstream says it used.")
    service_tier: str | None
    upstream: str | None = Field(description="null for an answer that Weir had kept.")
    upstream_request_id: str | None
    project_id: str
    user_id: str | None = Field(description="The person whose key it was; null for a program's.")
    key_id: str
    streamed: bool
    status: int = Field(description="The HTTP status that the caller got.")
    outcome: Outcome = Field(description="How the call ended.")
    ending: Ending = Field(description="How its money ended: by the upstream's count, by an estimate, or nothing owed.")
    tokens: Tokens
    cost_usd: str = Field(description="Exact decimal dollars.")
    ceiling_usd: str = Field(description="The most that it could cost, which was reserved for it.")
    price_id: str | None = Field(description="The price that was applied; null when the model has none.")
    timings: Timings
    flags: list[str] = Field(description="What a person should know, such as `model_not_priced`.")

    @classmethod
    def of(cls, entry: Entry) -> "Receipt":
        """Return the receipt of *entry*."""
        return cls(
            id=entry.request_id,
            attempt_id=str(entry.id),
            created_at=int(entry.started_at.timestamp()),
            operation=entry.operation,
            model=entry.model,
            answered_model=entry.answered_model,
            service_tier=entry.service_tier,
            upstream=entry.upstream or None,
            upstream_request_id=entry.upstream_request_id,
            project_id=entry.project_id,
            user_id=entry.user_id,
            key_id=entry.key_id,
            streamed=entry.streamed,
            status=entry.status,
            outcome=entry.outcome,
            ending=entry.ending,
            tokens=Tokens(
                input=entry.input_tokens,
                cached_input=entry.cached_input_tokens,
                cache_write=entry.cache_write_tokens,
                input_audio=entry.input_audio_tokens,
                output=entry.output_tokens,
                reasoning=entry.reasoning_tokens,
                output_audio=entry.output_audio_tokens,
                other=entry.other_units or {},
            ),
            cost_usd=usd_text(entry.cost_nano),
            ceiling_usd=usd_text(entry.ceiling_nano),
            price_id=entry.price_id,
            timings=Timings(
                total_ms=(entry.upstream_us + entry.gateway_us) / 1_000,
                upstream_ms=entry.upstream_us / 1_000,
                gateway_ms=entry.gateway_us / 1_000,
                first_byte_ms=None if entry.first_byte_us is None else entry.first_byte_us / 1_000,
            ),
            flags=list(entry.flags),
        )


class ReceiptList(Shape):
    """Receipts, one for each attempt."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "object": "list",
                "data": [RECEIPT_EXAMPLE],
                "has_more": False,
                "first_id": RECEIPT_EXAMPLE["attempt_id"],
                "last_id": RECEIPT_EXAMPLE["attempt_id"],
            }
        }
    )

    object: Literal["list"] = "list"
    data: list[Receipt]
    has_more: bool
    first_id: str | None = Field(description="The first `attempt_id` on this page.")
    last_id: str | None = Field(description="The last `attempt_id` on this page: the `after` of the next one.")

    @classmethod
    def of(cls, page: ReceiptPage) -> "ReceiptList":
        """Return *page* as it is sent."""
        data = [Receipt.of(entry) for entry in page.entries]
        first, last = (data[0].attempt_id, data[-1].attempt_id) if data else (None, None)
        return cls(data=data, has_more=page.has_more, first_id=first, last_id=last)
