"""Which upstream serves which model. Pure: it looks at what is configured, not at what is up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

FIRST_UPSTREAM: Final = "openai"
"""The name of the upstream that OPENAI_API_KEY and OPENAI_BASE_URL describe."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """One OpenAI-compatible server, the models it serves, and the credential that Weir has for it."""

    name: str
    base_url: str
    """Without a slash at its end, such as `https://api.openai.com/v1`."""
    api_key: str = field(repr=False)
    models: tuple[str, ...]
    """Patterns such as `sim-*`."""

    def serves(self, model: str) -> bool:
        """Tell whether one of the patterns matches *model*."""
        return any(fnmatchcase(model, pattern) for pattern in self.models)


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a call goes."""

    upstream: Upstream
    model: str


def plan(upstreams: Sequence[Upstream], model: str) -> Plan | None:
    """Return the first upstream that serves *model*, None when there is none."""
    for upstream in upstreams:
        if upstream.serves(model):
            return Plan(upstream, model)
    return None
