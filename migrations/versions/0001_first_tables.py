"""The first tables: projects, keys, prices and the ledger.

Revision: 0001, after nothing
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", moment, server_default=sa.func.now(), nullable=False),
        sa.Column("archived_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("project_id", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("redacted", sa.Text, nullable=False),
        sa.Column("created_at", moment, server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", moment),
        sa.Column("revoked_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_api_keys_project_id_projects"),
        sa.CheckConstraint("kind IN ('api', 'admin')", name=op.f("ck_api_keys_kind")),
        sa.CheckConstraint(
            "kind = 'admin' OR project_id IS NOT NULL", name=op.f("ck_api_keys_api_keys_have_a_project")
        ),
    )
    op.create_index("uq_api_keys_digest", "api_keys", ["digest"], unique=True)
    op.create_index("ix_api_keys_project_id", "api_keys", ["project_id"])
    op.create_table(
        "prices",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("service_tier", sa.Text, nullable=False),
        sa.Column("valid_from", moment, nullable=False),
        sa.Column("document", postgresql.JSONB, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("created_at", moment, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_prices"),
    )
    create_ledger()


def create_ledger() -> None:
    tokens = (
        "input_tokens",
        "cached_input_tokens",
        "cache_write_tokens",
        "input_audio_tokens",
        "output_tokens",
        "reasoning_tokens",
        "output_audio_tokens",
    )
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("settled_at", moment, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("project_id", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("upstream_request_id", sa.Text),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("answered_model", sa.Text),
        sa.Column("service_tier", sa.Text),
        sa.Column("streamed", sa.Boolean, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("ending", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in tokens),
        sa.Column("other_units", postgresql.JSONB),
        sa.Column("cost_nano", sa.BigInteger, nullable=False),
        sa.Column("price_id", sa.Text),
        sa.Column("flags", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("started_at", moment, nullable=False),
        sa.Column("first_byte_us", sa.BigInteger),
        sa.Column("upstream_us", sa.BigInteger, nullable=False),
        sa.Column("gateway_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", "settled_at", name="pk_ledger_entries"),
        sa.CheckConstraint(
            "ending IN ('settled', 'estimated', 'released', 'orphaned')", name=op.f("ck_ledger_entries_ending")
        ),
        sa.CheckConstraint("cost_nano >= 0", name=op.f("ck_ledger_entries_cost_is_not_negative")),
        postgresql_partition_by="RANGE (settled_at)",
    )
    op.create_index("ix_ledger_entries_request_id_project_id", "ledger_entries", ["request_id", "project_id"])
    op.create_index("ix_ledger_entries_project_id_settled_at", "ledger_entries", ["project_id", "settled_at"])


def downgrade() -> None:
    for table in ("ledger_entries", "prices", "api_keys", "projects"):
        op.drop_table(table)
