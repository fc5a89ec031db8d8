"""Whether a project's calls may be answered from the cache. Pure."""

from typing import NamedTuple


class CachePolicy(NamedTuple):
    """What was said of one project."""

    enabled: bool | None = None
    """None: nothing was said, and each call may ask for it; False: none may."""
    ttl_seconds: int | None = None
    """How long its answers are kept; None: for as long as the settings say."""
