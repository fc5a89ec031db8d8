"""Spend alerts of the organization and of projects: whom to tell, and from which amount on.

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "spend_alerts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("project_id", sa.Text),
        sa.Column("threshold_cents", sa.BigInteger, nullable=False),
        sa.Column("recipients", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("subject_prefix", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_spend_alerts"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_spend_alerts_project_id_projects"),
        sa.CheckConstraint("threshold_cents >= 0", name="threshold_is_not_negative"),
    )
    op.create_index("ix_spend_alerts_project_id", "spend_alerts", ["project_id"])


def downgrade() -> None:
    op.drop_table("spend_alerts")
