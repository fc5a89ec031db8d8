"""The tables of people, their sessions, refresh tokens and invites, and of attempts to sign in.

Holds digests only: neither a password nor a token can be read back from it.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Integer, LargeBinary, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orm import Base
from app.identity.roles import Role

_ROLE = "role IN ('owner', 'admin', 'member', 'viewer')"


class User(Base):
    """One person, `user_…`. The row of one who was deleted stays, for the bill and the audit log."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint(_ROLE, name="role"),
        CheckConstraint("email = lower(email)", name="email_is_in_lower_case"),
        CheckConstraint("(issuer IS NULL) = (subject IS NULL)", name="issuer_with_subject"),
        Index("uq_users_email", "email", unique=True, postgresql_where=text("disabled_at IS NULL")),
        Index("uq_users_subject", "issuer", "subject", unique=True, postgresql_where=text("disabled_at IS NULL")),
        Index("ix_users_owners", "id", postgresql_where=text("role = 'owner' AND disabled_at IS NULL")),
        Index("ix_users_issuer_subject", "issuer", "subject", postgresql_where=text("subject IS NOT NULL")),
        Index("ix_users_active", "created_at", "id", postgresql_where=text("disabled_at IS NULL")),
        Index("ix_users_deleted_email", "email", postgresql_where=text("disabled_at IS NOT NULL")),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    email: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    role: Mapped[Role] = mapped_column(Text)
    """In the organization."""
    password_digest: Mapped[str | None] = mapped_column(Text)
    """Argon2, with its salt and parameters; None for who signs in elsewhere only."""
    issuer: Mapped[str | None] = mapped_column(Text)
    """The identity provider that vouches for the person, and what it calls them."""
    subject: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    claimed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the newest of the identity provider's tokens that were seen was issued: what it says of roles counts."""
    signed_out_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Tokens that the identity provider issued before do not work any more."""
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    version: Mapped[int] = mapped_column(Integer, server_default="1")


class Session(Base):
    """One sign-in with a password, `sess_…`, until it is ended or expires."""

    __tablename__ = "sessions"
    __table_args__ = (
        Index("ix_sessions_user_id", "user_id"),
        Index("ix_sessions_expires_at", "expires_at"),
        Index("ix_sessions_ended_at", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class RefreshToken(Base):
    """One refresh token: used once; used again, it ends its session."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index("ix_refresh_tokens_session_id", "session_id"),)

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Invite(Base):
    """One invitation, `invite_…`; who has its token becomes a person."""

    __tablename__ = "invites"
    __table_args__ = (
        CheckConstraint(_ROLE, name="role"),
        Index("uq_invites_digest", "digest", unique=True),
        Index("ix_invites_created_at", "created_at", "id"),
        Index("ix_invites_pending_email", "email", postgresql_where=text("accepted_at IS NULL")),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    email: Mapped[str] = mapped_column(Text)
    role: Mapped[Role] = mapped_column(Text)
    projects: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    """Objects with `id` and `role`: where the person becomes a member, and as what."""
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    accepted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))


class SignInAttempts(Base):
    """How often a sign-in was tried for one account, or from one address, since the first try of a window."""

    __tablename__ = "sign_in_attempts"
    __table_args__ = (Index("ix_sign_in_attempts_ends_at", "ends_at"),)

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    count: Mapped[int] = mapped_column(Integer)
    ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
