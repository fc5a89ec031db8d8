"""The audit log: each entry is written in the transaction of the change that it tells of: both are there, or neither."""

from collections.abc import Mapping
from typing import Any

from app.audit import repository
from app.core.actor import acting
from app.core.db import Transaction
from app.core.ids import new_id


async def record(
    tx: Transaction,
    event: str,
    resource_id: str | None,
    *,
    project_id: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Append that the current actor did *event*, such as `project.created`, to *resource_id*, in the transaction *tx*.

    *details* is JSON without secrets: what is new, or what changed. It is shown as the member `event` of the entry.
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
        user_agent=actor.user_agent,
        request_id=actor.request_id,
        details=dict(details or {}),
    )
