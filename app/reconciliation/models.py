"""The table of reconciliations: what the ledger and the provider say of each day and line item, as last compared."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Date, DateTime, Numeric, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orm import Base


class Reconciliation(Base):
    """One line item of one day of one upstream; the newest check replaces the day's rows. Amounts as in `Line`."""

    __tablename__ = "reconciliations"

    upstream: Mapped[str] = mapped_column(Text, primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    line_item: Mapped[str] = mapped_column(Text, primary_key=True)
    # Sums of numbers that are absurd, but were recorded, do not fit 64 bits.
    ledger_nano: Mapped[Decimal] = mapped_column(Numeric(38, 0))
    provider_nano: Mapped[Decimal] = mapped_column(Numeric(38, 0))
    difference_nano: Mapped[Decimal] = mapped_column(Numeric(38, 0))
    checked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
