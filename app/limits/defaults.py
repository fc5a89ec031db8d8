"""The limits that the settings give to each project and each address. Pure."""

from collections.abc import Iterator
from typing import Final

from app.limit_settings import Limits as LimitsSettings
from app.limits.amounts import Counts
from app.limits.limit import Limit, Per, Scope

_DEFAULTS: Final[tuple[tuple[str, Scope, Counts, Per | None], ...]] = (
    ("project_requests_per_minute", "project", "requests", "minute"),
    ("project_requests_per_day", "project", "requests", "day"),
    ("project_tokens_per_minute", "project", "tokens", "minute"),
    ("project_concurrent", "project", "concurrent", None),
    ("unauthenticated_per_minute", "address", "requests", "minute"),
)


def default_limits(settings: LimitsSettings) -> Iterator[Limit]:
    """Yield a limit for each default that is set."""
    for name, scope, counts, per in _DEFAULTS:
        maximum: int | None = getattr(settings, name)
        if maximum is not None:
            yield Limit(f"lim_default_{name}", "default", scope, None, None, counts, per, maximum)
