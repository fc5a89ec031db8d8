"""Rollups of the ledger, the marks that say which of its minutes they miss, and a ledger that only grows.

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

moment = sa.DateTime(timezone=True)
measures = (
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "cache_write_12h_tokens",
    "input_audio_tokens",
    "cached_input_audio_tokens",
    "input_image_tokens",
    "cached_input_image_tokens",
    "output_tokens",
    "reasoning_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "characters",
    "audio_seconds",
    "images",
    "web_searches",
    "web_search_previews",
    "file_searches",
    "code_interpreter_sessions",
    "cost_nano",
)


def upgrade() -> None:
    create_rollups()
    op.create_table(
        "ledger_changes",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("minute", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_changes"),
    )
    op.execute(
        "INSERT INTO ledger_changes (minute) SELECT DISTINCT date_trunc('minute', settled_at) FROM ledger_entries"
    )
    op.create_index(
        "ix_ledger_entries_settled_at",
        "ledger_entries",
        ["settled_at"],
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    )
    # Receipts are listed by id, which is their order of arrival.
    op.create_index("ix_ledger_entries_project_id_id", "ledger_entries", ["project_id", "id"])
    make_append_only()


def create_rollups() -> None:
    op.create_table(
        "usage_rollups",
        sa.Column("width", sa.Text, nullable=False),
        sa.Column("starts_at", moment, nullable=False),
        sa.Column("project_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("service_tier", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        *(sa.Column(name, sa.Numeric(38, 0), nullable=False) for name in measures),
        sa.UniqueConstraint(
            "width",
            "starts_at",
            "project_id",
            "user_id",
            "key_id",
            "operation",
            "model",
            "service_tier",
            "outcome",
            name="uq_usage_rollups_group",
            postgresql_nulls_not_distinct=True,
        ),
        sa.CheckConstraint("width IN ('minute', 'hour', 'day')", name="width"),
    )
    op.create_index(
        "ix_usage_rollups_project_id_width_starts_at", "usage_rollups", ["project_id", "width", "starts_at"]
    )


def make_append_only() -> None:
    op.execute("""
CREATE FUNCTION refuse_change_of_ledger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'the ledger is append-only';
END $$
""")
    op.execute(
        "CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE ON ledger_entries "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change_of_ledger()"
    )
    op.execute(
        "CREATE TRIGGER ledger_entries_no_truncate BEFORE TRUNCATE ON ledger_entries "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_ledger()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER ledger_entries_no_truncate ON ledger_entries")
    op.execute("DROP TRIGGER ledger_entries_append_only ON ledger_entries")
    op.execute("DROP FUNCTION refuse_change_of_ledger")
    op.drop_index("ix_ledger_entries_project_id_id", "ledger_entries")
    op.drop_index("ix_ledger_entries_settled_at", "ledger_entries")
    op.drop_table("ledger_changes")
    op.drop_table("usage_rollups")
