"""The table of the audit log: rows are only ever added, which the database itself sees to."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Identity, Index, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orm import Base


class AuditEntry(Base):
    """One change or sign-in, `audit_…`: who, when, what."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("uq_audit_entries_id", "id", unique=True),
        Index("ix_audit_entries_effective_at", "effective_at"),
        Index("ix_audit_entries_event", "event", "position"),
        Index("ix_audit_entries_project_id", "project_id", "position"),
        Index("ix_audit_entries_resource_id", "resource_id", "position"),
    )

    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    id: Mapped[str] = mapped_column(Text)
    effective_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    event: Mapped[str] = mapped_column(Text)
    """Such as `api_key.created`."""
    resource_id: Mapped[str | None] = mapped_column(Text)
    project_id: Mapped[str | None] = mapped_column(Text)
    actor_kind: Mapped[str] = mapped_column(Text)
    actor_id: Mapped[str | None] = mapped_column(Text)
    actor_user_id: Mapped[str | None] = mapped_column(Text)
    actor_email: Mapped[str | None] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    user_agent: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    details: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """What changed; never a secret."""
