"""Which upstreams serve which model. Pure: it looks at what is configured, not at what is up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, Literal

FIRST_UPSTREAM: Final = "openai"
"""The name of the upstream that OPENAI_API_KEY and OPENAI_BASE_URL describe."""

Provider = Literal["openai", "azure"]
"""How an upstream is spoken to: as OpenAI is, or by Azure OpenAI's addresses and headers."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """An upstream's own timeouts; None where the setting of the same name counts."""

    connect_timeout_seconds: float | None = None
    first_byte_timeout_seconds: float | None = None
    between_chunks_timeout_seconds: float | None = None
    total_timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    """One OpenAI-compatible server, the models it serves, and the credential that Weir has for it."""

    name: str
    """Unique, and what receipts, logs and metrics call it."""
    base_url: str
    """Without a slash at its end, such as `https://api.openai.com/v1`."""
    api_key: str = field(repr=False)
    models: tuple[str, ...]
    """Patterns such as `sim-*`."""
    id: str = ""
    """Of its row; empty for an upstream from the environment."""
    provider: Provider = "openai"
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What a model is called there, by the name that callers use; those names are served whatever the patterns say."""
    priority: int = 0
    """The lower goes first; one of a higher number gets calls only when no lower one can have them."""
    weight: int = 100
    """Its share of the calls among upstreams of the same priority; 0 for none unless the others cannot."""
    timeouts: Timeouts = Timeouts()
    api_version: str | None = None
    """Azure's `api-version`; None for its version-less v1 API."""
    requests_per_minute: int | None = None
    """Calls that it may be sent in a minute; None for as many as come."""
    calls_at_once: int | None = None
    """Calls that may be under way there at the same time; None for as many as come."""
    is_exclusive: bool = False
    """No other upstream gets the calls for models that this one serves: the simulator's are nobody else's."""

    def serves(self, model: str) -> bool:
        """Tell whether *model* is one of the aliases or one of the patterns matches it."""
        return model in self.aliases or any(fnmatchcase(model, pattern) for pattern in self.models)


@dataclass(frozen=True, slots=True)
class Target:
    """One upstream that can take a call, and for which model."""

    upstream: Upstream
    model: str
    """As the caller named it, or the fallback that is configured for it: priced, reserved and limited as itself."""
    sent_model: str = field(init=False)
    """What the upstream calls the model."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sent_model", self.upstream.aliases.get(self.model, self.model))


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a call may go: the upstreams for the model it names, and then those for each model it may fall back to."""

    targets: tuple[Target, ...]
    """In the order of configuration; at least one."""


def plan(upstreams: Sequence[Upstream], models: Sequence[str]) -> Plan | None:
    """Return every upstream that serves the first of *models*, then those of the next, and so on; None without any."""
    targets = [Target(upstream, model) for model in models for upstream in _serving(upstreams, model)]
    return Plan(tuple(targets)) if targets else None


def _serving(upstreams: Sequence[Upstream], model: str) -> Sequence[Upstream]:
    serving = [upstream for upstream in upstreams if upstream.serves(model)]
    return next(([upstream] for upstream in serving if upstream.is_exclusive), serving)
