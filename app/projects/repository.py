"""Projects in PostgreSQL."""

from typing import Any, Final

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.orm import paged, rows_of
from app.core.pagination import Paging
from app.projects.models import Project
from app.projects.record import ModelPermissions, ProjectRecord

CHANNEL: Final = "weir_projects"
"""Notified with a project's id when what may be called in it changes."""
_PROJECT: Final = [getattr(Project, name) for name in ProjectRecord._fields]


async def create_unless_there(tx: AsyncConnection, project_id: str, name: str) -> bool:
    """Insert a project and tell that; one that is there already stays as it is."""
    made = insert(Project).values(id=project_id, name=name).on_conflict_do_nothing()
    return await tx.scalar(made.returning(Project.id)) is not None


async def create_project(tx: AsyncConnection, project: ProjectRecord) -> None:
    """Insert a project."""
    await tx.execute(insert(Project).values(**project._asdict()))


async def find_project(tx: AsyncConnection, project_id: str, *, locks: bool = False) -> ProjectRecord | None:
    """Return a project, archived or not; *locks* keeps others from archiving it, and from changing it, meanwhile."""
    query = select(*_PROJECT).where(Project.id == project_id)
    row = (await tx.execute(query.with_for_update(key_share=True) if locks else query)).one_or_none()
    return None if row is None else ProjectRecord(*row)


async def find_project_id(tx: AsyncConnection, name_or_id: str) -> str | None:
    """Return the id of the project with this id, else of the oldest with this name."""
    is_id = Project.id == name_or_id
    found = select(Project.id).where(is_id | (Project.name == name_or_id))
    project_id: str | None = await tx.scalar(found.order_by(is_id.desc(), Project.created_at).limit(1))
    return project_id


async def list_projects(
    tx: AsyncConnection,
    project_ids: tuple[str, ...] | None,
    paging: Paging,
    after: ProjectRecord | None,
    *,
    include_archived: bool,
) -> list[ProjectRecord]:
    """Return the projects with these ids, or all, behind *after*, oldest first; one more than the limit."""
    query = select(*_PROJECT)
    if project_ids is not None:
        query = query.where(Project.id.in_(project_ids))
    if not include_archived:
        query = query.where(Project.archived_at.is_(None))
    values = None if after is None else [after.created_at, after.id]
    rows = await tx.execute(paged(query, [Project.created_at, Project.id], values, paging))
    return [ProjectRecord(*row) for row in rows]


async def update_project(tx: AsyncConnection, project_id: str, columns: dict[str, Any]) -> ProjectRecord:
    """Set *columns* of a project and return it."""
    statement = update(Project).where(Project.id == project_id).values(**columns)
    return ProjectRecord(*(await tx.execute(statement.returning(*_PROJECT))).one())


async def list_permissions(tx: AsyncConnection) -> dict[str, ModelPermissions]:
    """Return which models may be called, by project, of the projects that say so."""
    query = select(Project.id, Project.model_mode, Project.model_ids).where(Project.model_mode.is_not(None))
    return {row.id: ModelPermissions(row.model_mode, tuple(row.model_ids)) async for row in rows_of(tx, query)}


async def find_permissions(tx: AsyncConnection, project_id: str) -> ModelPermissions | None:
    """Return which models may be called in a project that says so."""
    query = select(Project.model_mode, Project.model_ids).where(Project.id == project_id)
    row = (await tx.execute(query.where(Project.model_mode.is_not(None)))).one_or_none()
    return None if row is None else ModelPermissions(row.model_mode, tuple(row.model_ids))


async def notify(tx: AsyncConnection, project_id: str) -> None:
    """Tell every process, once the transaction commits, that a project changed."""
    await tx.execute(text("SELECT pg_notify(:channel, :project_id)"), {"channel": CHANNEL, "project_id": project_id})
