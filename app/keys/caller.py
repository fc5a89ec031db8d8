"""Who is calling, as every feature sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from app.identity.roles import ORGANIZATION_RIGHTS, PROJECT_RIGHTS, Right, Role
from app.keys.networks import Network

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
    email: str | None = None
    """The address of a person who signed in."""
    service_account_id: str | None = None
    """The service account whose key it is."""
    scopes: frozenset[str] = frozenset()
    """What the key may be used for (`app/keys/scopes.py`); empty for everything."""
    models: tuple[str, ...] = ()
    """Patterns of the models that the key may call; empty for all that its project may."""
    networks: tuple[Network, ...] = ()
    """Where the key may be used from; empty for everywhere."""

    @property
    def paying_project_id(self) -> str:
        """The project that pays for a call under `/v1`, whose door refuses callers without one."""
        assert self.project_id is not None, "an admin key reached the gateway"  # noqa: S101 - narrows the type
        return self.project_id

    @property
    def idempotency_scope(self) -> str:
        """Within which an idempotency key is one: its own key, which is one project's; of a person each project."""
        return f"{self.key_id} {self.project_id}" if self.kind == "person" else self.key_id

    @property
    def seen_project_ids(self) -> tuple[str, ...] | None:
        """The projects whose calls may be looked at: the one that pays, else all that may be read; None for every."""
        if self.project_id is not None:
            return (self.project_id,)
        if self.may("read", None):
            return None
        return tuple(project_id for project_id in self.project_roles if self.may("read", project_id))

    def may(self, right: Right, project_id: str | None) -> bool:
        """Tell whether its role in the organization, or in the project, gives it *right* there."""
        if self.organization_role is not None and right in ORGANIZATION_RIGHTS[self.organization_role]:
            return True
        role = None if project_id is None else self.project_roles.get(project_id)
        return role is not None and right in PROJECT_RIGHTS[role]
