"""An upstream as people manage it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final, Literal

from app.upstreams.routing import FIRST_UPSTREAM, Provider, Timeouts, Upstream

UPSTREAMS_MAX: Final = 100
"""Most upstreams: each is a label of metrics, and each process keeps all of them."""
RESERVED_NAMES: Final = frozenset({FIRST_UPSTREAM, "simulator"})
"""What the upstreams from the environment are called."""
_SHOWN_CHARACTERS: Final = 4

Sort = Literal["created_at", "name"]
Fault = Literal["address_refused", "credential_unreadable"]
"""Why nothing may be sent there: by what the settings allow now, or with the keys that are configured now."""
State = Literal["ready", "disabled"] | Fault
"""Whether calls may go there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamConfig:
    """What can be chosen, all but the credential; as in `app.upstreams.routing.Upstream`."""

    name: str
    provider: Provider = "openai"
    base_url: str
    models: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)
    priority: int = 0
    weight: int = 100
    connect_timeout_seconds: float | None = None
    first_byte_timeout_seconds: float | None = None
    between_chunks_timeout_seconds: float | None = None
    total_timeout_seconds: float | None = None
    api_version: str | None = None
    requests_per_minute: int | None = None
    calls_at_once: int | None = None
    enabled: bool = True

    def with_credential(self, upstream_id: str, api_key: str) -> Upstream:
        """Return the upstream as calls know it."""
        return Upstream(
            name=self.name,
            base_url=self.base_url,
            api_key=api_key,
            models=self.models,
            id=upstream_id,
            provider=self.provider,
            aliases=self.aliases,
            priority=self.priority,
            weight=self.weight,
            timeouts=Timeouts(
                self.connect_timeout_seconds,
                self.first_byte_timeout_seconds,
                self.between_chunks_timeout_seconds,
                self.total_timeout_seconds,
            ),
            api_version=self.api_version,
            requests_per_minute=self.requests_per_minute,
            calls_at_once=self.calls_at_once,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRecord(UpstreamConfig):
    """An upstream's row. `version` is counted up by every change."""

    id: str
    api_key_encrypted: bytes | None = field(repr=False)
    api_key_redacted: str | None
    version: int
    created_at: datetime
    updated_at: datetime


CONFIG_FIELDS: Final = tuple(each.name for each in fields(UpstreamConfig))
RECORD_FIELDS: Final = tuple(each.name for each in fields(UpstreamRecord))


def columns(config: UpstreamConfig) -> dict[str, Any]:
    """Return what can be chosen, by name."""
    return {name: getattr(config, name) for name in CONFIG_FIELDS}


def redacted(api_key: str) -> str:
    """Return what people may see of a credential: its end, and that only of one with plenty more characters."""
    return f"…{api_key[-_SHOWN_CHARACTERS:]}" if len(api_key) >= 8 * _SHOWN_CHARACTERS else "…"
