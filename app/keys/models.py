"""The table of API keys and admin keys. Holds digests only: a key cannot be read back from it."""

from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orm import Base
from app.keys.tokens import KeyKind


class ApiKey(Base):
    """One key, `key_…`: an `api` key calls for its project, an `admin` key manages the installation."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("kind IN ('api', 'admin')", name="kind"),
        CheckConstraint("kind = 'admin' OR project_id IS NOT NULL", name="api_keys_have_a_project"),
        Index("uq_api_keys_digest", "digest", unique=True),
        Index("ix_api_keys_project_id", "project_id"),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[KeyKind] = mapped_column(Text)
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    user_id: Mapped[str | None] = mapped_column(Text)
    """The person whose key it is; None for a program's."""
    name: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    """HMAC-SHA256 of the whole key under the pepper."""
    redacted: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
