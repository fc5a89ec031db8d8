"""Indexes with which no query reads more as tables grow. Those of the ledger are built while calls wait.

Whoever has a large ledger makes them first on each of its partitions, with CREATE INDEX CONCURRENTLY: those are taken
as they are (docs/scaling.md).

Revision: 0016, after 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

NEW = (
    # Receipts by whoever made them, and what they have spent since a moment: ids begin with the time.
    ("ix_ledger_entries_key_id_id", "ledger_entries", ["key_id", "id"], None),
    ("ix_ledger_entries_user_id_id", "ledger_entries", ["user_id", "id"], "user_id IS NOT NULL"),
    # Receipts of what is rare: hardly any call is in these.
    ("ix_ledger_entries_outcome_id", "ledger_entries", ["outcome", "id"], "outcome <> 'completed'"),
    ("ix_ledger_entries_ending_id", "ledger_entries", ["ending", "id"], "ending <> 'settled'"),
    ("ix_ledger_entries_corrections", "ledger_entries", ["id"], "'correction' = ANY (flags)"),
    ("ix_audit_entries_effective_at_position", "audit_entries", ["effective_at", "position"], None),
    ("ix_audit_entries_actor_id", "audit_entries", ["actor_id", "position"], None),
    ("ix_audit_entries_actor_user_id", "audit_entries", ["actor_user_id", "position"], None),
    ("ix_audit_entries_actor_email", "audit_entries", ["actor_email", "position"], None),
    ("ix_owned_objects_kind_created_at", "owned_objects", ["kind", "created_at"], None),
    ("ix_budget_windows_ends_at", "budget_windows", ["ends_at"], None),
    ("ix_budget_windows_uncounted", "budget_windows", ["id"], "opening_nano IS NULL"),
    ("ix_budgets_active", "budgets", ["created_at", "id"], "archived_at IS NULL"),
    ("ix_budgets_active_name", "budgets", ["name", "id"], "archived_at IS NULL"),
    ("ix_budgets_archived", "budgets", ["created_at", "id"], "archived_at IS NOT NULL"),
    ("ix_budgets_archived_name", "budgets", ["name", "id"], "archived_at IS NOT NULL"),
    ("ix_budgets_scope_id", "budgets", ["scope_id"], None),
    ("ix_budgets_model", "budgets", ["model"], "model IS NOT NULL"),
    ("ix_budgets_observing", "budgets", ["created_at", "id"], "mode = 'observing'"),
    ("ix_limits_created_at", "limits", ["created_at", "id"], None),
    ("ix_limits_name", "limits", ["name", "id"], None),
    ("ix_limits_scope_id", "limits", ["scope_id"], None),
    ("ix_limits_model", "limits", ["model"], "model IS NOT NULL"),
    ("ix_limits_counts", "limits", ["counts", "created_at", "id"], None),
    ("ix_limits_shadow", "limits", ["created_at", "id"], "mode = 'shadow'"),
    ("ix_api_keys_created_at", "api_keys", ["created_at", "id"], None),
    ("ix_api_keys_name", "api_keys", ["name", "id"], None),
    ("ix_api_keys_admin", "api_keys", ["created_at", "id"], "kind = 'admin'"),
    ("ix_api_keys_active", "api_keys", ["project_id", "created_at", "id"], "revoked_at IS NULL"),
    ("ix_project_members_added_at", "project_members", ["project_id", "added_at", "user_id"], None),
    ("ix_projects_active", "projects", ["created_at", "id"], "archived_at IS NULL"),
    ("ix_projects_name", "projects", ["name", "created_at"], None),
    ("ix_projects_model_mode", "projects", ["id"], "model_mode IS NOT NULL"),
    ("ix_sessions_ended_at", "sessions", ["ended_at"], "ended_at IS NOT NULL"),
    ("ix_users_owners", "users", ["id"], "role = 'owner' AND disabled_at IS NULL"),
    ("ix_users_issuer_subject", "users", ["issuer", "subject"], "subject IS NOT NULL"),
    ("ix_users_active", "users", ["created_at", "id"], "disabled_at IS NULL"),
    ("ix_service_accounts_active", "service_accounts", ["project_id", "created_at", "id"], "deleted_at IS NULL"),
)
OLD = (
    ("ix_ledger_entries_project_id_settled_at", "ledger_entries", ["project_id", "settled_at"]),
    ("ix_audit_entries_effective_at", "audit_entries", ["effective_at"]),
    ("ix_users_created_at", "users", ["created_at", "id"]),
    ("ix_service_accounts_project_id", "service_accounts", ["project_id", "created_at", "id"]),
)


def upgrade() -> None:
    for name, table, columns, where in NEW:
        op.create_index(name, table, columns, postgresql_where=None if where is None else sa.text(where))
    for name, table, _ in OLD:
        op.drop_index(name, table)
    op.drop_index("ix_owned_objects_created_at", "owned_objects")
    op.drop_index("ix_ledger_entries_settled_at", "ledger_entries")
    create_ranges(["settled_at", "cost_nano", "model", "answered_model"])


def create_ranges(columns: list[str]) -> None:
    op.create_index(
        "ix_ledger_entries_settled_at",
        "ledger_entries",
        columns,
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
        postgresql_ops={name: "text_bloom_ops" for name in columns if "model" in name},
    )


def downgrade() -> None:
    op.drop_index("ix_ledger_entries_settled_at", "ledger_entries")
    create_ranges(["settled_at"])
    op.create_index("ix_owned_objects_created_at", "owned_objects", ["created_at"], postgresql_using="brin")
    for name, table, columns in OLD:
        op.create_index(name, table, columns)
    for name, table, _, _ in NEW:
        op.drop_index(name, table)
