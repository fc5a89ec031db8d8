"""Circuit breakers that operators hold open or closed.

Revision: 0013, after 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "upstream_breakers",
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("upstream", "model", name="pk_upstream_breakers"),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_upstream_breakers_state")),
    )


def downgrade() -> None:
    op.drop_table("upstream_breakers")
