"""Projects in PostgreSQL."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.projects.models import Project


async def create_project(tx: AsyncConnection, project_id: str, name: str) -> None:
    """Insert a project; one that is there already stays as it is."""
    await tx.execute(insert(Project).values(id=project_id, name=name).on_conflict_do_nothing())


async def has_project(tx: AsyncConnection, project_id: str) -> bool:
    """Tell whether there is a project with this id, archived or not."""
    return await tx.scalar(select(Project.id).where(Project.id == project_id)) is not None


async def find_project_id(tx: AsyncConnection, name_or_id: str) -> str | None:
    """Return the id of the oldest project with this id or name."""
    found = select(Project.id).where((Project.id == name_or_id) | (Project.name == name_or_id))
    project_id: str | None = await tx.scalar(found.order_by(Project.created_at).limit(1))
    return project_id
