"""An invitation, as it is kept and as it is shown. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from app.identity.roles import Role

InviteStatus = Literal["pending", "accepted", "expired"]


class InviteRecord(NamedTuple):
    """An invite's row."""

    id: str
    email: str
    role: Role
    projects: list[dict[str, Any]]
    """Objects with `id` and `role`."""
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None

    def status(self, now: datetime) -> InviteStatus:
        """Return what has become of it."""
        if self.accepted_at is not None:
            return "accepted"
        return "pending" if now < self.expires_at else "expired"

    def facts(self, now: datetime) -> tuple[object, ...]:
        """Return all that it says."""
        return *self, self.status(now)


class NewInvite(NamedTuple):
    """Whom to invite, as what, and into which projects; None for the project that everybody starts in."""

    email: str
    role: Role
    projects: Mapping[str, Role] | None
