"""The settings of limits: a group as those in `setting_groups.py`."""

from typing import Annotated, Literal

from pydantic import Field

from app.setting_groups import Group

_Maximum = Annotated[int | None, Field(ge=0, le=10**12)]


class Limits(Group):
    """How fast callers may go where nobody has set a limit of their own, and what happens without Redis."""

    on_redis_loss: Literal["share", "refuse"] = Field(
        "share",
        description="While Redis is away: `share` lets each process keep its share of every limit, `refuse` answers "
        "503 to calls under a limit.",
    )
    redis_timeout_ms: int = Field(50, ge=1, le=10_000, description="Longest wait of a call for its limits.")
    output_tokens_default: int = Field(
        1_024, ge=0, le=1_000_000, description="Expected of a call that names no maximum, until it has ended."
    )
    project_requests_per_minute: _Maximum = Field(None, description="Of each project; unset, no limit.")
    project_requests_per_day: _Maximum = Field(None, description="Of each project; unset, no limit.")
    project_tokens_per_minute: _Maximum = Field(None, description="Of each project; unset, no limit.")
    project_concurrent: _Maximum = Field(None, description="Calls of each project at once; unset, no limit.")
    unauthenticated_per_minute: _Maximum = Field(
        None, description="Calls with a missing or wrong key from each address (IPv6: one /64); unset, no limit."
    )
