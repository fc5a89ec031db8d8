"""The table of upstreams that are managed; the one from the environment has no row."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, Float, Integer, LargeBinary, Text, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orm import Base


class UpstreamRow(Base):
    """An OpenAI-compatible server and the account there, `upstream_…`. Columns as `app.upstreams.record`."""

    __tablename__ = "upstreams"
    __table_args__ = (
        UniqueConstraint("name"),
        CheckConstraint("provider IN ('openai', 'azure')", name="provider"),
        CheckConstraint("weight >= 0", name="weight_is_not_negative"),
        CheckConstraint("(api_key_encrypted IS NULL) = (api_key_redacted IS NULL)", name="both_or_no_api_key"),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    provider: Mapped[str] = mapped_column(Text)
    base_url: Mapped[str] = mapped_column(Text)
    api_key_encrypted: Mapped[bytes | None] = mapped_column(LargeBinary)
    """By `app.core.crypto`, bound to the id."""
    api_key_redacted: Mapped[str | None] = mapped_column(Text)
    models: Mapped[list[str]] = mapped_column(ARRAY(Text))
    aliases: Mapped[dict[str, Any]] = mapped_column(JSONB)
    priority: Mapped[int] = mapped_column(Integer)
    weight: Mapped[int] = mapped_column(Integer)
    connect_timeout_seconds: Mapped[float | None] = mapped_column(Float)
    first_byte_timeout_seconds: Mapped[float | None] = mapped_column(Float)
    between_chunks_timeout_seconds: Mapped[float | None] = mapped_column(Float)
    total_timeout_seconds: Mapped[float | None] = mapped_column(Float)
    api_version: Mapped[str | None] = mapped_column(Text)
    requests_per_minute: Mapped[int | None] = mapped_column(Integer)
    calls_at_once: Mapped[int | None] = mapped_column(Integer)
    enabled: Mapped[bool]
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
