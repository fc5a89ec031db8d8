"""The tables of projects, the tenant that keys, calls and costs belong to, and of the people in them."""

from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orm import Base
from app.identity.roles import Role
from app.projects.record import ModelMode


class Project(Base):
    """One project, `proj_…`; archived ones keep their history."""

    __tablename__ = "projects"
    __table_args__ = (
        CheckConstraint("model_mode IN ('allow_list', 'deny_list')", name="model_mode"),
        Index("ix_projects_created_at_id", "created_at", "id"),
        Index("ix_projects_active", "created_at", "id", postgresql_where=text("archived_at IS NULL")),
        Index("ix_projects_name", "name", "created_at"),
        Index("ix_projects_model_mode", "id", postgresql_where=text("model_mode IS NOT NULL")),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    archived_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    model_mode: Mapped[ModelMode | None] = mapped_column(Text)
    """What `model_ids` are: None while every model may be called."""
    model_ids: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")


class ProjectMember(Base):
    """One person in one project."""

    __tablename__ = "project_members"
    __table_args__ = (
        CheckConstraint("role IN ('owner', 'admin', 'member', 'viewer')", name="role"),
        Index("ix_project_members_user_id", "user_id"),
        Index("ix_project_members_added_at", "project_id", "added_at", "user_id"),
    )

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    role: Mapped[Role] = mapped_column(Text)
    added_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
