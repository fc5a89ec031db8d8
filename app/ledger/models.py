"""The ledger's table: one row per upstream call, append-only, partitioned by month, no bodies in it."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Text,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orm import Base


class LedgerEntry(Base):
    """One call as it was charged. The columns are those of `app.ledger.entries.Entry`, in its order."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        PrimaryKeyConstraint("id", "settled_at"),
        CheckConstraint("ending IN ('settled', 'estimated', 'released', 'orphaned')", name="ending"),
        CheckConstraint("cost_nano >= 0 OR 'correction' = ANY (flags)", name="cost_is_not_negative"),
        Index("ix_ledger_entries_request_id_project_id", "request_id", "project_id"),
        Index("ix_ledger_entries_project_id_id", "project_id", "id"),
        Index("ix_ledger_entries_key_id_id", "key_id", "id"),
        Index("ix_ledger_entries_user_id_id", "user_id", "id", postgresql_where=text("user_id IS NOT NULL")),
        Index("ix_ledger_entries_outcome_id", "outcome", "id", postgresql_where=text("outcome <> 'completed'")),
        Index("ix_ledger_entries_ending_id", "ending", "id", postgresql_where=text("ending <> 'settled'")),
        Index("ix_ledger_entries_corrections", "id", postgresql_where=text("'correction' = ANY (flags)")),
        Index(
            "ix_ledger_entries_settled_at",
            "settled_at",
            "cost_nano",
            "model",
            "answered_model",
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
            postgresql_ops={"model": "text_bloom_ops", "answered_model": "text_bloom_ops"},
        ),
        {"postgresql_partition_by": "RANGE (settled_at)"},
    )

    id: Mapped[UUID] = mapped_column()
    settled_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    request_id: Mapped[str] = mapped_column(Text)
    project_id: Mapped[str] = mapped_column(Text)
    user_id: Mapped[str | None] = mapped_column(Text)
    key_id: Mapped[str] = mapped_column(Text)
    operation: Mapped[str] = mapped_column(Text)
    upstream: Mapped[str] = mapped_column(Text)
    upstream_request_id: Mapped[str | None] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    answered_model: Mapped[str | None] = mapped_column(Text)
    service_tier: Mapped[str | None] = mapped_column(Text)
    streamed: Mapped[bool] = mapped_column(Boolean)
    status: Mapped[int] = mapped_column(Integer)
    ending: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    cached_input_tokens: Mapped[int] = mapped_column(BigInteger)
    cache_write_tokens: Mapped[int] = mapped_column(BigInteger)
    input_audio_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    reasoning_tokens: Mapped[int] = mapped_column(BigInteger)
    output_audio_tokens: Mapped[int] = mapped_column(BigInteger)
    other_units: Mapped[dict[str, int] | None] = mapped_column(JSONB)
    cost_nano: Mapped[int] = mapped_column(BigInteger)
    ceiling_nano: Mapped[int] = mapped_column(BigInteger)
    price_id: Mapped[str | None] = mapped_column(Text)
    flags: Mapped[list[str]] = mapped_column(ARRAY(Text))
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    first_byte_us: Mapped[int | None] = mapped_column(BigInteger)
    upstream_us: Mapped[int] = mapped_column(BigInteger)
    gateway_us: Mapped[int] = mapped_column(BigInteger)
    budget_window_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


# PostgreSQL gives the first trigger to every partition, those of later months included.
_APPEND_ONLY: Final = (
    """
CREATE OR REPLACE FUNCTION refuse_change_of_ledger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'the ledger is append-only';
END $$
""",
    """
CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE ON ledger_entries
FOR EACH ROW EXECUTE FUNCTION refuse_change_of_ledger()
""",
    """
CREATE TRIGGER ledger_entries_no_truncate BEFORE TRUNCATE ON ledger_entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_ledger()
""",
)
for _statement in _APPEND_ONLY:
    event.listen(LedgerEntry.__table__, "after_create", DDL(_statement))  # type: ignore[no-untyped-call]
