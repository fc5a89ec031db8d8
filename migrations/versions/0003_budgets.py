"""Budgets, their windows and their history; who a call is for and which windows it counts in.

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

moment = sa.DateTime(timezone=True)
windows = postgresql.ARRAY(sa.BigInteger)


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("user_id", sa.Text))
    for table in ("reservations", "ledger_entries"):
        op.add_column(table, sa.Column("user_id", sa.Text))
        op.add_column(table, sa.Column("budget_window_ids", windows, nullable=False, server_default="{}"))
        op.alter_column(table, "budget_window_ids", server_default=None)
    op.add_column("ledger_entries", sa.Column("ceiling_nano", sa.BigInteger, nullable=False, server_default="0"))
    op.alter_column("ledger_entries", "ceiling_nano", server_default=None)
    create_budgets()
    create_windows()


def create_budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("scope_id", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("time_zone", sa.Text, nullable=False),
        sa.Column("limit_nano", sa.BigInteger, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", moment, server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", moment, server_default=sa.func.now(), nullable=False),
        sa.Column("paused_at", moment),
        sa.Column("archived_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_budgets"),
        sa.CheckConstraint("scope IN ('organization', 'project', 'user', 'api_key')", name="scope"),
        sa.CheckConstraint("(scope = 'organization') = (scope_id IS NULL)", name="scope_has_an_id"),
        sa.CheckConstraint("period IN ('day', 'week', 'month', 'total')", name="period"),
        sa.CheckConstraint("mode IN ('enforcing', 'observing')", name="mode"),
        sa.CheckConstraint("limit_nano >= 0", name="limit_is_not_negative"),
    )
    op.create_index("ix_budgets_scope_scope_id", "budgets", ["scope", "scope_id"])
    op.create_table(
        "budget_changes",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("budget_id", sa.Text, nullable=False),
        sa.Column("changed_at", moment, server_default=sa.func.now(), nullable=False),
        sa.Column("changed_by", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("before", postgresql.JSONB),
        sa.Column("after", postgresql.JSONB),
        sa.PrimaryKeyConstraint("id", name="pk_budget_changes"),
        sa.ForeignKeyConstraint(["budget_id"], ["budgets.id"], name="fk_budget_changes_budget_id_budgets"),
    )
    op.create_index("ix_budget_changes_budget_id", "budget_changes", ["budget_id"])
    op.create_table(
        "budget_versions",
        sa.Column("id", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_budget_versions"),
        sa.CheckConstraint("id", name="one_row"),
    )
    op.execute("INSERT INTO budget_versions (version) VALUES (1)")


def create_windows() -> None:
    # Every call updates the rows of its windows, in place: room is left on the pages for that (HOT updates).
    op.create_table(
        "budget_windows",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("budget_id", sa.Text, nullable=False),
        sa.Column("starts_at", moment, nullable=False),
        sa.Column("ends_at", moment),
        sa.Column("opening_nano", sa.BigInteger),
        sa.Column("extra_nano", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("spent_nano", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("reserved_nano", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("withheld_nano", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("id", name="pk_budget_windows"),
        sa.ForeignKeyConstraint(["budget_id"], ["budgets.id"], name="fk_budget_windows_budget_id_budgets"),
        sa.UniqueConstraint("budget_id", "starts_at", name="uq_budget_windows_budget_id_starts_at"),
        postgresql_with={"fillfactor": "20"},
    )


def downgrade() -> None:
    for table in ("budget_windows", "budget_changes", "budget_versions", "budgets"):
        op.drop_table(table)
    op.drop_column("ledger_entries", "ceiling_nano")
    for table in ("ledger_entries", "reservations"):
        op.drop_column(table, "budget_window_ids")
        op.drop_column(table, "user_id")
    op.drop_column("api_keys", "user_id")
