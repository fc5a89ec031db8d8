"""The tables of open reservations and of the processes that hold them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, DateTime, Index, Text, func
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
    key_id: Mapped[str] = mapped_column(Text)
    operation: Mapped[str] = mapped_column(Text)
    upstream: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    streamed: Mapped[bool] = mapped_column(Boolean)
    ceiling_nano: Mapped[int] = mapped_column(BigInteger)
    price_id: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Process(Base):
    """A process of Weir; alive while its heartbeat is young by the database's own clock."""

    __tablename__ = "processes"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    heartbeat_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
