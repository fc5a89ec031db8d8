"""The settings of cached answers: a group as those in `setting_groups.py`."""

from typing import Final

from pydantic import Field

from app.setting_groups import Group

TTL_SECONDS_MAX: Final = 2_592_000
"""Thirty days: no answer is ever kept for longer."""


class Cache(Group):
    """Answers that are kept in Redis, encrypted, for projects and calls that ask for it."""

    ttl_seconds: int = Field(
        300, ge=1, le=TTL_SECONDS_MAX, description="How long an answer is kept where nobody says how long."
    )
    ttl_seconds_max: int = Field(
        86_400, ge=1, le=TTL_SECONDS_MAX, description="Longest that an answer is kept, whatever a project or call says."
    )
    answer_size_bytes_max: int = Field(
        1_048_576, ge=1_024, le=67_108_864, description="Largest answer that is kept, in bytes."
    )
    size_bytes_max: int = Field(
        268_435_456,
        ge=0,
        le=1_099_511_627_776,
        description="All answers together, in bytes, of all replicas: for a new one those go that end soonest. "
        "0: none is kept.",
    )
    redis_timeout_ms: int = Field(100, ge=1, le=10_000, description="Longest wait of a call for a cached answer.")
