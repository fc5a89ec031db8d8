"""The tables of rollups, which hold nothing that the ledger does not: they can be made anew from it at any time."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
)

from app.core.orm import Base
from app.ledger.usage_sum import DIMENSIONS, MEASURES

_NULLABLE: Final = ("user_id", "service_tier")

ledger_changes: Final = Table(
    "ledger_changes",
    Base.metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("minute", DateTime(timezone=True), nullable=False),
)
"""Marks: this minute of `settled_at` got entries, in the transaction that wrote the mark.

Each flush leaves its own, and marks of one minute are never merged: a roll-up deletes those that it sees, and an entry
that is committed later must leave one behind (ON CONFLICT DO NOTHING would leave none when it meets one of those).
"""

usage_rollups: Final = Table(
    "usage_rollups",
    Base.metadata,
    Column("width", Text, nullable=False),
    Column("starts_at", DateTime(timezone=True), nullable=False),
    *(Column(name, Text, nullable=name in _NULLABLE) for name in DIMENSIONS),
    # Sums of numbers that are absurd, but were recorded, do not fit 64 bits.
    *(Column(name, Numeric(38, 0), nullable=False) for name in MEASURES),
    CheckConstraint("width IN ('minute', 'hour', 'day')", name="width"),
    UniqueConstraint(
        "width", "starts_at", *DIMENSIONS, name="uq_usage_rollups_group", postgresql_nulls_not_distinct=True
    ),
    Index("ix_usage_rollups_project_id_width_starts_at", "project_id", "width", "starts_at"),
)
"""What the entries of one group add up to in one minute, hour or day, in UTC."""
