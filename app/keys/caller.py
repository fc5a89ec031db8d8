"""Who is calling, as every feature sees it, and keys as people see them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from app.identity.roles import Role
from app.keys.tokens import KeyKind

CallerKind = Literal["api", "admin", "person"]


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated key, or a person who signed in."""

    key_id: str
    """Of a person, the id of the session."""
    kind: CallerKind
    project_id: str | None
    """The project that pays for its calls. An `admin` key has none, a person the one that the request names."""
    expires_at: datetime | None
    user_id: str | None = None
    """The person, or the one whose key it is; None for a program's key."""
    organization_role: Role | None = None
    """An admin key acts as an owner, an API key has no role."""
    project_roles: Mapping[str, Role] = field(default_factory=dict)
    """The projects that a person is in, by id."""


class KeyRow(NamedTuple):
    """A key as it may be shown."""

    id: str
    kind: KeyKind
    project_id: str | None
    user_id: str | None
    name: str
    redacted: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
