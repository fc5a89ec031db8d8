"""Upstreams that administrators manage, their credentials encrypted.

Revision: 0012, after 0011
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "upstreams",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("base_url", sa.Text, nullable=False),
        sa.Column("api_key_encrypted", sa.LargeBinary),
        sa.Column("api_key_redacted", sa.Text),
        sa.Column("models", ARRAY(sa.Text), nullable=False),
        sa.Column("aliases", JSONB, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("weight", sa.Integer, nullable=False),
        sa.Column("connect_timeout_seconds", sa.Float),
        sa.Column("first_byte_timeout_seconds", sa.Float),
        sa.Column("between_chunks_timeout_seconds", sa.Float),
        sa.Column("total_timeout_seconds", sa.Float),
        sa.Column("api_version", sa.Text),
        sa.Column("requests_per_minute", sa.Integer),
        sa.Column("calls_at_once", sa.Integer),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", moment, server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", moment, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_upstreams"),
        sa.UniqueConstraint("name", name="uq_upstreams_name"),
        sa.CheckConstraint("provider IN ('openai', 'azure')", name=op.f("ck_upstreams_provider")),
        sa.CheckConstraint("weight >= 0", name=op.f("ck_upstreams_weight_is_not_negative")),
        sa.CheckConstraint(
            "(api_key_encrypted IS NULL) = (api_key_redacted IS NULL)", name=op.f("ck_upstreams_both_or_no_api_key")
        ),
    )


def downgrade() -> None:
    op.drop_table("upstreams")
