"""An entry of the audit log, and which of them are asked for. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple


class AuditRecord(NamedTuple):
    """What one entry says; the columns are those of the table, without its `position`."""

    id: str
    effective_at: datetime
    event: str
    resource_id: str | None
    project_id: str | None
    actor_kind: str
    actor_id: str | None
    actor_user_id: str | None
    actor_email: str | None
    address: str | None
    user_agent: str | None
    request_id: str | None
    details: dict[str, Any]


class AuditQuery(NamedTuple):
    """Which entries are asked for: an empty list of values, and None, let everything through."""

    events: Sequence[str] = ()
    project_ids: Sequence[str] = ()
    actor_ids: Sequence[str] = ()
    """Ids of keys, sessions or people."""
    actor_emails: Sequence[str] = ()
    resource_ids: Sequence[str] = ()
    since: datetime | None = None
    """Inclusive."""
    until: datetime | None = None
    """Exclusive."""
    after: str | None = None
    """Only what is older than the entry with this id."""
    before: str | None = None
    """Only what is newer than the entry with this id."""
    limit: int = 20

    @property
    def is_backwards(self) -> bool:
        """Whether the page ends at an entry, instead of beginning behind one."""
        return self.before is not None and self.after is None
