"""Reconciliations: the ledger's costs beside the provider's own, by day and line item.

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reconciliations",
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("line_item", sa.Text, nullable=False),
        sa.Column("ledger_nano", sa.Numeric(38, 0), nullable=False),
        sa.Column("provider_nano", sa.Numeric(38, 0), nullable=False),
        sa.Column("difference_nano", sa.Numeric(38, 0), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("upstream", "day", "line_item", name="pk_reconciliations"),
    )


def downgrade() -> None:
    op.drop_table("reconciliations")
