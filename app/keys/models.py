"""The tables of keys and of service accounts. Of a key only digests are held: it cannot be read back from them."""

from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Integer, LargeBinary, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orm import Base
from app.keys.record import AccountRole
from app.keys.tokens import KeyKind


class ApiKey(Base):
    """One key, `key_…`: an `api` key calls for its project, an `admin` key manages the installation."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("kind IN ('api', 'admin')", name="kind"),
        CheckConstraint("kind = 'admin' OR project_id IS NOT NULL", name="api_keys_have_a_project"),
        CheckConstraint("user_id IS NULL OR service_account_id IS NULL", name="one_owner"),
        CheckConstraint("(previous_digest IS NULL) = (previous_expires_at IS NULL)", name="previous_expires"),
        Index("uq_api_keys_digest", "digest", unique=True),
        Index("uq_api_keys_previous_digest", "previous_digest", unique=True),
        Index("ix_api_keys_project_id", "project_id", "created_at", "id"),
        Index("ix_api_keys_user_id", "user_id"),
        Index("ix_api_keys_service_account_id", "service_account_id"),
        Index("ix_api_keys_created_at", "created_at", "id"),
        Index("ix_api_keys_name", "name", "id"),
        Index("ix_api_keys_admin", "created_at", "id", postgresql_where=text("kind = 'admin'")),
        Index("ix_api_keys_active", "project_id", "created_at", "id", postgresql_where=text("revoked_at IS NULL")),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[KeyKind] = mapped_column(Text)
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    user_id: Mapped[str | None] = mapped_column(Text)
    """The person whose key it is; None for a program's."""
    service_account_id: Mapped[str | None] = mapped_column(ForeignKey("service_accounts.id"))
    name: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    """HMAC-SHA256 of the whole key under the pepper."""
    previous_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Of the value that the key had before it was rotated; it works until `previous_expires_at`."""
    previous_expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    redacted: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    """What it may be used for; empty for everything."""
    models: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    """Patterns of the models that it may call; empty for all that its project may."""
    networks: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    """Where it may be used from, as CIDR (RFC 4632); empty for everywhere."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    """Counted up by every change, last use aside."""


class ServiceAccount(Base):
    """One program in a project, `svc_…`; a deleted one stays, so that its keys can be told."""

    __tablename__ = "service_accounts"
    __table_args__ = (
        CheckConstraint("role IN ('owner', 'member', 'none')", name="role"),
        Index(
            "ix_service_accounts_active", "project_id", "created_at", "id", postgresql_where=text("deleted_at IS NULL")
        ),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(Text)
    role: Mapped[AccountRole] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
