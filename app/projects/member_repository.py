"""Who is in which project, in PostgreSQL."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.orm import paged
from app.core.pagination import Paging
from app.identity.roles import Role
from app.projects.models import Project, ProjectMember
from app.projects.record import MemberRecord

CHANNEL: Final = "weir_members"
"""Notified with a person's id when what they may do in projects changes."""
_MEMBER: Final = [getattr(ProjectMember, name) for name in MemberRecord._fields]


async def list_roles(tx: AsyncConnection, user_id: str) -> dict[str, Role]:
    """Return what the person is in each of their projects; in an archived one nobody can do more than look."""
    query = select(ProjectMember.project_id, ProjectMember.role, Project.archived_at)
    query = query.join(Project, Project.id == ProjectMember.project_id).where(ProjectMember.user_id == user_id)
    rows = await tx.execute(query)
    return {row.project_id: row.role if row.archived_at is None else "viewer" for row in rows}


async def find_member(tx: AsyncConnection, project_id: str, user_id: str, *, lock: bool = False) -> MemberRecord | None:
    """Return what a person is in a project; with *lock*, nobody else changes that until the transaction ends."""
    query = select(*_MEMBER).where(ProjectMember.project_id == project_id, ProjectMember.user_id == user_id)
    row = (await tx.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else MemberRecord(*row)


async def list_members(
    tx: AsyncConnection, project_id: str, paging: Paging, after: MemberRecord | None
) -> list[MemberRecord]:
    """Return the people of a project behind *after*, in the order in which they came; one more than the limit."""
    query = select(*_MEMBER).where(ProjectMember.project_id == project_id)
    values = None if after is None else [after.added_at, after.user_id]
    rows = await tx.execute(paged(query, [ProjectMember.added_at, ProjectMember.user_id], values, paging))
    return [MemberRecord(*row) for row in rows]


async def list_with_roles(tx: AsyncConnection, project_id: str, roles: Collection[Role]) -> list[str]:
    """Return the ids of the people who are one of *roles* in a project."""
    query = select(ProjectMember.user_id).where(ProjectMember.project_id == project_id, ProjectMember.role.in_(roles))
    return list(await tx.scalars(query))


async def create_member(tx: AsyncConnection, member: MemberRecord) -> None:
    """Insert a person into a project."""
    await tx.execute(insert(ProjectMember).values(**member._asdict()))
    await notify(tx, member.user_id)


async def update_role(tx: AsyncConnection, project_id: str, user_id: str, role: Role) -> None:
    """Set what a person is in a project."""
    here = (ProjectMember.project_id == project_id) & (ProjectMember.user_id == user_id)
    await tx.execute(update(ProjectMember).where(here).values(role=role))
    await notify(tx, user_id)


async def delete_member(tx: AsyncConnection, user_id: str, project_id: str | None) -> list[str]:
    """Take a person out of a project, or out of all with None; return out of which."""
    here = ProjectMember.user_id == user_id
    if project_id is not None:
        here &= ProjectMember.project_id == project_id
    left = list(await tx.scalars(delete(ProjectMember).where(here).returning(ProjectMember.project_id)))
    await notify(tx, user_id)
    return left


async def notify(tx: AsyncConnection, user_id: str) -> None:
    """Tell every process, once the transaction commits, that the roles of a person changed."""
    await tx.execute(text("SELECT pg_notify(:channel, :user_id)"), {"channel": CHANNEL, "user_id": user_id})
