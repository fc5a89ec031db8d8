"""What was said about caching, in PostgreSQL."""

from typing import Final

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.answers.models import ProjectCache
from app.answers.policy import CachePolicy
from app.core.orm import rows_of

CHANNEL: Final = "weir_caches"
"""Notified with a project's id when something else is said of it."""
_POLICY: Final = [getattr(ProjectCache, name) for name in CachePolicy._fields]


async def list_policies(tx: AsyncConnection) -> dict[str, CachePolicy]:
    """Return what was said, by project."""
    rows = rows_of(tx, select(ProjectCache.project_id, *_POLICY))
    return {project_id: CachePolicy(*policy) async for project_id, *policy in rows}


async def find_policy(tx: AsyncConnection, project_id: str) -> CachePolicy | None:
    """Return what was said of a project."""
    row = (await tx.execute(select(*_POLICY).where(ProjectCache.project_id == project_id))).one_or_none()
    return None if row is None else CachePolicy(*row)


async def write_policy(tx: AsyncConnection, project_id: str, policy: CachePolicy | None) -> None:
    """Say *policy* of a project, or nothing any more; every process is told once the transaction commits."""
    if policy is None:
        await tx.execute(delete(ProjectCache).where(ProjectCache.project_id == project_id))
    else:
        columns = policy._asdict()
        made = insert(ProjectCache).values(project_id=project_id, **columns)
        await tx.execute(made.on_conflict_do_update(index_elements=[ProjectCache.project_id], set_=columns))
    await tx.execute(text("SELECT pg_notify(:channel, :project_id)"), {"channel": CHANNEL, "project_id": project_id})
