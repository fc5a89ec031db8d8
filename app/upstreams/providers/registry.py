"""Which provider an upstream is of decides where its calls go and how its credential travels. Pure.

A provider is a module with these two functions and a line in the table.
"""

from types import ModuleType
from typing import Final

from app.upstreams.providers import azure, openai
from app.upstreams.routing import Provider, Upstream

_PROVIDERS: Final[dict[Provider, ModuleType]] = {"openai": openai, "azure": azure}


def address(upstream: Upstream, path: str, model: str = "") -> str:
    """Return the URL for *path* below an upstream's API; *model* is what it calls the model, "" where none is called.

    *path* is escaped already, begins with a slash, and may have a query.
    """
    url: str = _PROVIDERS[upstream.provider].address(upstream, path, model)
    return url


def credential_headers(upstream: Upstream) -> dict[str, str]:
    """Return the header that Weir's own credential travels in, none for an upstream without one."""
    headers: dict[str, str] = _PROVIDERS[upstream.provider].credential_headers(upstream)
    return headers
