"""The settings of upstreams that administrators manage: a group as those in `setting_groups.py`."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from app.setting_groups import Group

_Model = Annotated[str, StringConstraints(min_length=1, max_length=256)]


def _require_other_models(fallbacks: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for model, others in fallbacks.items():
        if not others:
            raise ValueError(f"'{model}' has no model to fall back to")
        if model in others or len(set(others)) != len(others):
            raise ValueError(f"'{model}' must fall back to other models, each named once")
    return fallbacks


class Upstreams(Group):
    """Where upstreams that administrators add may be, and which models stand in for others."""

    allow_private_addresses: bool = Field(
        default=False,
        description="Let them be in private networks and on this machine, and be spoken to without TLS there. "
        "Link-local and cloud metadata addresses stay refused.",
    )
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        (),
        description='Networks where they may be although such addresses are refused: `["10.1.0.0/16"]`.',
    )
    fallback_models: Annotated[
        dict[_Model, Annotated[tuple[_Model, ...], Field(max_length=5)]], AfterValidator(_require_other_models)
    ] = Field(
        {},
        max_length=1_000,
        description="Models that are tried, in order, when no upstream can answer for one: "
        '`{"gpt-4o": ["gpt-4o-mini"]}`.',
    )
