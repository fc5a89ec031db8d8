"""The audit log: who changed what; rows are only ever added, one transaction after the other.

Revision: 0008, after 0007
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("position", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("effective_at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("resource_id", sa.Text),
        sa.Column("project_id", sa.Text),
        sa.Column("actor_kind", sa.Text, nullable=False),
        sa.Column("actor_id", sa.Text),
        sa.Column("actor_user_id", sa.Text),
        sa.Column("actor_email", sa.Text),
        sa.Column("address", sa.Text),
        sa.Column("user_agent", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("details", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_audit_entries"),
    )
    op.create_index("uq_audit_entries_id", "audit_entries", ["id"], unique=True)
    op.create_index("ix_audit_entries_effective_at", "audit_entries", ["effective_at"])
    op.create_index("ix_audit_entries_event", "audit_entries", ["event", "position"])
    op.create_index("ix_audit_entries_project_id", "audit_entries", ["project_id", "position"])
    op.create_index("ix_audit_entries_resource_id", "audit_entries", ["resource_id", "position"])
    make_append_only()


def make_append_only() -> None:
    op.execute("""
CREATE FUNCTION refuse_change_of_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END $$
""")
    op.execute(
        "CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_log()"
    )
    # Who writes holds the lock until its transaction ends, so positions become visible in their order.
    op.execute("""
CREATE FUNCTION take_turns_in_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('weir.audit'));
    RETURN NULL;
END $$
""")
    op.execute(
        "CREATE TRIGGER audit_entries_in_order BEFORE INSERT ON audit_entries "
        "FOR EACH STATEMENT EXECUTE FUNCTION take_turns_in_audit_log()"
    )


def downgrade() -> None:
    op.drop_table("audit_entries")
    op.execute("DROP FUNCTION take_turns_in_audit_log")
    op.execute("DROP FUNCTION refuse_change_of_audit_log")
