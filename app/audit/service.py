"""The audit log: each entry is written in the transaction of the change that it tells of: both are there or neither."""

from collections.abc import Mapping
from typing import Any, Final

from app.audit import repository
from app.audit.entry import AuditQuery, AuditRecord
from app.core.actor import acting
from app.core.db import Database, Transaction
from app.core.ids import new_id
from app.core.pagination import Page
from app.errors import InvalidRequest
from app.observability.redaction import redact_text, redact_value

_USER_AGENT_CHARACTERS_MAX: Final = 512


async def record(
    tx: Transaction,
    event: str,
    resource_id: str | None,
    *,
    project_id: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Append that the current actor did *event*, such as `project.created`, to *resource_id*, in the transaction *tx*.

    *details* is JSON without secrets, as OpenAI shows it: `{"data": {…}}` of what is new, `{"changes_requested": {…}}`
    of what was changed. It is shown, with the id, as the member of the entry that is named like the event.

    Until the transaction ends everybody else who has something to record waits: keep it short, and call this late.
    """
    actor = acting.get()
    await repository.add_entry(
        tx,
        id=new_id("audit"),
        event=event,
        resource_id=resource_id,
        project_id=project_id,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_user_id=actor.user_id,
        actor_email=actor.email,
        address=actor.address,
        user_agent=actor.user_agent and redact_text(actor.user_agent[:_USER_AGENT_CHARACTERS_MAX]),
        request_id=actor.request_id,
        # Nobody should hand over a secret; should somebody do so all the same, it is not kept.
        details=redact_value(dict(details or {})),
    )


class AuditService:
    """Reads the log. Every method raises DatabaseUnavailable when PostgreSQL is away or too busy."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_entries(self, query: AuditQuery) -> Page[AuditRecord]:
        """Return a page of entries, the newest first; raises InvalidRequest for an unknown `after` or `before`."""
        async with self._db.transaction() as tx:
            older_than = await self._place(tx, "after", query.after)
            newer_than = await self._place(tx, "before", query.before)
            found = Page.of(await repository.list_entries(tx, query, older_than, newer_than), query.limit)
        return Page(found.items[::-1], found.has_more) if query.is_backwards else found

    async def _place(self, tx: Transaction, param: str, entry_id: str | None) -> repository.Place | None:
        if entry_id is None:
            return None
        place = await repository.find_place(tx, entry_id)
        if place is None:
            raise InvalidRequest(f"Invalid value for '{param}': there is no such entry.", param=param)
        return place
