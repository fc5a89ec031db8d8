"""The table of breakers that operators hold open or closed."""

from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orm import Base


class UpstreamBreakerRow(Base):
    """What an operator has decided about the circuit breaker of a model at an upstream."""

    __tablename__ = "upstream_breakers"
    __table_args__ = (CheckConstraint("state IN ('open', 'closed')", name="state"),)

    # By name: an upstream from the environment has no row.
    upstream: Mapped[str] = mapped_column(Text, primary_key=True)
    model: Mapped[str] = mapped_column(Text, primary_key=True)
    state: Mapped[str] = mapped_column(Text)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
