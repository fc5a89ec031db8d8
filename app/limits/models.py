"""The table of limits."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, Integer, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orm import Base


class LimitRow(Base):
    """How much of something may be used in any window of a length, `lim_…`. Columns as `app.limits.limit.Limit`."""

    __tablename__ = "limits"
    __table_args__ = (
        CheckConstraint(
            "scope IN ('organization', 'project', 'user', 'service_account', 'api_key', 'address')", name="scope"
        ),
        CheckConstraint("scope <> 'organization' OR scope_id IS NULL", name="organization_has_no_id"),
        CheckConstraint("per IN ('second', 'minute', 'hour', 'day')", name="per"),
        CheckConstraint("(counts = 'concurrent') = (per IS NULL)", name="concurrent_has_no_window"),
        CheckConstraint("maximum >= 0", name="maximum_is_not_negative"),
        CheckConstraint("mode IN ('enforcing', 'shadow')", name="mode"),
        Index("ix_limits_scope_scope_id", "scope", "scope_id"),
        Index("ix_limits_created_at", "created_at", "id"),
        Index("ix_limits_name", "name", "id"),
        Index("ix_limits_scope_id", "scope_id"),
        Index("ix_limits_model", "model", postgresql_where=text("model IS NOT NULL")),
        Index("ix_limits_counts", "counts", "created_at", "id"),
        Index("ix_limits_shadow", "created_at", "id", postgresql_where=text("mode = 'shadow'")),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(Text)
    scope_id: Mapped[str | None] = mapped_column(Text)
    model: Mapped[str | None] = mapped_column(Text)
    counts: Mapped[str] = mapped_column(Text)
    per: Mapped[str | None] = mapped_column(Text)
    maximum: Mapped[int] = mapped_column(BigInteger)
    mode: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
