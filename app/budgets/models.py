"""The tables of open reservations, of the processes that hold them, of the budgets that they count in, of alerts."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orm import Base


class ReservationRow(Base):
    """An attempt that is under way: written before it is sent, deleted by the settlement. Columns as `Reservation`."""

    __tablename__ = "reservations"
    __table_args__ = (
        CheckConstraint("ceiling_nano >= 0", name="ceiling_is_not_negative"),
        Index("ix_reservations_process_id", "process_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    process_id: Mapped[UUID] = mapped_column()
    request_id: Mapped[str] = mapped_column(Text)
    project_id: Mapped[str] = mapped_column(Text)
    user_id: Mapped[str | None] = mapped_column(Text)
    key_id: Mapped[str] = mapped_column(Text)
    operation: Mapped[str] = mapped_column(Text)
    upstream: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    streamed: Mapped[bool] = mapped_column(Boolean)
    ceiling_nano: Mapped[int] = mapped_column(BigInteger)
    price_id: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    budget_window_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


class Process(Base):
    """A process of Weir; alive while its heartbeat is young by the database's own clock."""

    __tablename__ = "processes"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    heartbeat_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class BudgetRow(Base):
    """What a scope may spend in each window of a period. Columns as `app.budgets.budget.Budget`; never deleted."""

    __tablename__ = "budgets"
    __table_args__ = (
        CheckConstraint("scope IN ('organization', 'project', 'user', 'api_key')", name="scope"),
        CheckConstraint("(scope = 'organization') = (scope_id IS NULL)", name="scope_has_an_id"),
        CheckConstraint("period IN ('day', 'week', 'month', 'total')", name="period"),
        CheckConstraint("mode IN ('enforcing', 'observing')", name="mode"),
        CheckConstraint("limit_nano >= 0", name="limit_is_not_negative"),
        Index("ix_budgets_scope_scope_id", "scope", "scope_id"),
        Index("ix_budgets_active", "created_at", "id", postgresql_where=text("archived_at IS NULL")),
        Index("ix_budgets_active_name", "name", "id", postgresql_where=text("archived_at IS NULL")),
        Index("ix_budgets_archived", "created_at", "id", postgresql_where=text("archived_at IS NOT NULL")),
        Index("ix_budgets_archived_name", "name", "id", postgresql_where=text("archived_at IS NOT NULL")),
        Index("ix_budgets_scope_id", "scope_id"),
        Index("ix_budgets_model", "model", postgresql_where=text("model IS NOT NULL")),
        Index("ix_budgets_observing", "created_at", "id", postgresql_where=text("mode = 'observing'")),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(Text)
    scope_id: Mapped[str | None] = mapped_column(Text)
    model: Mapped[str | None] = mapped_column(Text)
    period: Mapped[str] = mapped_column(Text)
    time_zone: Mapped[str] = mapped_column(Text)
    limit_nano: Mapped[int] = mapped_column(BigInteger)
    mode: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    paused_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    archived_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class BudgetChange(Base):
    """Who changed a budget, when, from what to what."""

    __tablename__ = "budget_changes"
    __table_args__ = (Index("ix_budget_changes_budget_id", "budget_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    budget_id: Mapped[str] = mapped_column(ForeignKey("budgets.id"))
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    changed_by: Mapped[str] = mapped_column(Text)
    """The id of the key that did it."""
    kind: Mapped[str] = mapped_column(Text)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


class BudgetVersion(Base):
    """One row, counted up in every transaction that changes a budget: processes compare it before they reserve."""

    __tablename__ = "budget_versions"
    __table_args__ = (CheckConstraint("id", name="one_row"),)

    id: Mapped[bool] = mapped_column(Boolean, primary_key=True, server_default=true())
    version: Mapped[int] = mapped_column(BigInteger)


class BudgetWindow(Base):
    """One day, week, month (or all time) of a budget: what was spent in it, and what calls under way hold."""

    __tablename__ = "budget_windows"
    __table_args__ = (
        UniqueConstraint("budget_id", "starts_at"),
        Index("ix_budget_windows_ends_at", "ends_at"),
        Index("ix_budget_windows_uncounted", "id", postgresql_where=text("opening_nano IS NULL")),
        {"postgresql_with": {"fillfactor": "20"}},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    budget_id: Mapped[str] = mapped_column(ForeignKey("budgets.id"))
    starts_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ends_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    opening_nano: Mapped[int | None] = mapped_column(BigInteger)
    """Part of `spent_nano`: spent before the budget was made. None until it was counted."""
    extra_nano: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Added to the limit for this window only."""
    spent_nano: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    reserved_nano: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    withheld_nano: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """What calls whose cost could only be estimated may have cost more than that, at most."""


class SpendAlert(Base):
    """Whom to tell once the organization, or a project, has spent an amount in a month."""

    __tablename__ = "spend_alerts"
    __table_args__ = (
        CheckConstraint("threshold_cents >= 0", name="threshold_is_not_negative"),
        Index("ix_spend_alerts_project_id", "project_id"),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    """None for the organization."""
    threshold_cents: Mapped[int] = mapped_column(BigInteger)
    recipients: Mapped[list[str]] = mapped_column(ARRAY(Text))
    subject_prefix: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
