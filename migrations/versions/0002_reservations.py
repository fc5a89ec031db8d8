"""Reservations: the row of intent that every attempt has before it is sent, and the processes that hold them.

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "processes",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("heartbeat_at", moment, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_processes"),
    )
    op.create_table(
        "reservations",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("process_id", sa.Uuid, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("project_id", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("streamed", sa.Boolean, nullable=False),
        sa.Column("ceiling_nano", sa.BigInteger, nullable=False),
        sa.Column("price_id", sa.Text),
        sa.Column("started_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reservations"),
        sa.CheckConstraint("ceiling_nano >= 0", name="ceiling_is_not_negative"),
    )
    op.create_index("ix_reservations_process_id", "reservations", ["process_id"])
    op.drop_constraint(op.f("ck_ledger_entries_cost_is_not_negative"), "ledger_entries")
    op.create_check_constraint("cost_is_not_negative", "ledger_entries", "cost_nano >= 0 OR 'correction' = ANY (flags)")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_ledger_entries_cost_is_not_negative"), "ledger_entries")
    # Corrections that were written meanwhile stay: the ledger loses nothing.
    has_corrections = op.get_bind().scalar(sa.text("SELECT EXISTS (SELECT FROM ledger_entries WHERE cost_nano < 0)"))
    op.create_check_constraint(
        "cost_is_not_negative", "ledger_entries", "cost_nano >= 0", postgresql_not_valid=has_corrections
    )
    op.drop_table("reservations")
    op.drop_table("processes")
