"""What the ledger says about one upstream call."""

from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from app.core.money import Nano

Ending = Literal["settled", "estimated", "released", "orphaned"]
"""How the money of a call ended: usage known, usage counted by us, nothing owed, or its process died."""

Outcome = Literal[
    "completed", "no_usage", "upstream_broke", "client_left", "upstream_refused", "process_died", "cached"
]
"""How the call itself ended. `cached`: answered with what Weir had kept; nothing was reserved, and nothing sent."""


class Entry(NamedTuple):
    """One row of the ledger; never changed once written. Durations are in microseconds."""

    id: UUID
    settled_at: datetime
    request_id: str
    project_id: str
    user_id: str | None
    key_id: str
    operation: str
    upstream: str
    """Empty where nothing was sent to any."""
    upstream_request_id: str | None
    model: str
    answered_model: str | None
    service_tier: str | None
    streamed: bool
    status: int
    ending: Ending
    outcome: Outcome
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    input_audio_tokens: int
    output_tokens: int
    reasoning_tokens: int
    output_audio_tokens: int
    other_units: dict[str, int] | None
    """Everything else that was counted and is not 0, by its name in `prices.usage.Usage`."""
    cost_nano: Nano
    ceiling_nano: Nano
    """What was reserved for it: the most that it could cost."""
    price_id: str | None
    flags: tuple[str, ...]
    started_at: datetime
    first_byte_us: int | None
    upstream_us: int
    gateway_us: int
    budget_window_ids: tuple[int, ...] = ()
    """The windows of budgets that it counts in."""
