"""The settings of dispatch: a group as those in `setting_groups.py`."""

from pydantic import Field

from app.setting_groups import Group
from app.setting_values import Seconds


class Dispatch(Group):
    """What is tried when an upstream fails, and when an upstream is left alone for a while (`docs/resilience.md`)."""

    attempts_max: int = Field(
        3, ge=1, le=10, description="How often one call may be sent to the same upstream; 1 for no retries there."
    )
    retry_budget_percent: int = Field(
        20, ge=0, le=100, description="Most that retries at the same upstream may add to its calls."
    )
    retries_per_second: float = Field(
        0.2, ge=0, le=1_000, description="Such retries that are always there, for upstreams with few calls."
    )
    breaker_calls_min: int = Field(
        10, ge=1, le=100_000, description="Calls within ten seconds below which rates do not open a breaker."
    )
    breaker_error_percent: int = Field(50, ge=1, le=100, description="Share of them that fails, and opens it.")
    breaker_slow_percent: int = Field(80, ge=1, le=100, description="Share of them that is slow, and opens it.")
    breaker_silent_calls_max: int = Field(
        3, ge=1, le=10_000, description="Calls in a row without connection or answer that open it at once."
    )
    breaker_open_seconds: Seconds = Field(
        5, description="Longest time that it is open first; twice as long each time, unless it is closed for a while."
    )
    breaker_open_seconds_max: Seconds = Field(60, description="Longest time that it is ever open.")
    breaker_trial_calls: int = Field(
        3, ge=1, le=1_000, description="Calls that are let through then, and must all be answered to close it."
    )
    slow_call_seconds: Seconds = Field(300, description="Time to the head of an answer that makes it a slow one.")
    stall_seconds: Seconds = Field(
        0.5,
        description="Least silence of an upstream at which several calls wait that makes it go last; longer where "
        "answers take longer.",
    )
    probe_timeout_seconds: Seconds = Field(
        1, description="Longest wait for an upstream that Weir asks by itself whether it is there."
    )
