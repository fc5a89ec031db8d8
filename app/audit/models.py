"""The table of the audit log: rows are only ever added, in the order of commits, which the database itself sees to."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import DDL, BigInteger, DateTime, Identity, Index, Text, event, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orm import Base


class AuditEntry(Base):
    """One change or sign-in, `audit_…`: who, when, what."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("uq_audit_entries_id", "id", unique=True),
        Index("ix_audit_entries_effective_at_position", "effective_at", "position"),
        Index("ix_audit_entries_actor_id", "actor_id", "position"),
        Index("ix_audit_entries_actor_user_id", "actor_user_id", "position"),
        Index("ix_audit_entries_actor_email", "actor_email", "position"),
        Index("ix_audit_entries_event", "event", "position"),
        Index("ix_audit_entries_project_id", "project_id", "position"),
        Index("ix_audit_entries_resource_id", "resource_id", "position"),
    )

    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    id: Mapped[str] = mapped_column(Text)
    effective_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
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


_APPEND_ONLY: Final = (
    """
CREATE OR REPLACE FUNCTION refuse_change_of_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END $$
""",
    """
CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_log()
""",
    """
CREATE OR REPLACE FUNCTION take_turns_in_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('weir.audit'));
    RETURN NULL;
END $$
""",
    """
CREATE TRIGGER audit_entries_in_order BEFORE INSERT ON audit_entries
FOR EACH STATEMENT EXECUTE FUNCTION take_turns_in_audit_log()
""",
)
for _statement in _APPEND_ONLY:
    event.listen(AuditEntry.__table__, "after_create", DDL(_statement))  # type: ignore[no-untyped-call]
