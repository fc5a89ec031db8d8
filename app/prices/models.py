"""The dated table of prices. Rows are added, never changed: a past entry keeps the price that it was made with."""

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orm import Base


class PriceRow(Base):
    """One price of one model pattern and service tier from `valid_from` on, as `app/prices/prices.json` writes it."""

    __tablename__ = "prices"
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    """Made of model, tier, date and source, so that the same price cannot be there twice."""
    model: Mapped[str] = mapped_column(Text)
    service_tier: Mapped[str] = mapped_column(Text)
    valid_from: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    document: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """The whole row, amounts as decimal strings in USD."""
    source: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
