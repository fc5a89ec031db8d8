"""Limits: how much of something may be used in any window of a length.

Revision: 0011, after 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "limits",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("scope_id", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("counts", sa.Text, nullable=False),
        sa.Column("per", sa.Text),
        sa.Column("maximum", sa.BigInteger, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", moment, server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", moment, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_limits"),
        sa.CheckConstraint(
            "scope IN ('organization', 'project', 'user', 'service_account', 'api_key', 'address')",
            name=op.f("ck_limits_scope"),
        ),
        sa.CheckConstraint(
            "scope <> 'organization' OR scope_id IS NULL", name=op.f("ck_limits_organization_has_no_id")
        ),
        sa.CheckConstraint("per IN ('second', 'minute', 'hour', 'day')", name=op.f("ck_limits_per")),
        sa.CheckConstraint("(counts = 'concurrent') = (per IS NULL)", name=op.f("ck_limits_concurrent_has_no_window")),
        sa.CheckConstraint("maximum >= 0", name=op.f("ck_limits_maximum_is_not_negative")),
        sa.CheckConstraint("mode IN ('enforcing', 'shadow')", name=op.f("ck_limits_mode")),
    )
    op.create_index("ix_limits_scope_scope_id", "limits", ["scope", "scope_id"])


def downgrade() -> None:
    op.drop_table("limits")
