"""Who is in which project, service accounts, which models a project may call, and what a key may do.

Revision: 0010, after 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

moment = sa.DateTime(timezone=True)
texts = postgresql.ARRAY(sa.Text)
none = sa.text("'{}'")


def upgrade() -> None:
    op.add_column("projects", sa.Column("model_mode", sa.Text))
    op.add_column("projects", sa.Column("model_ids", texts, server_default=none, nullable=False))
    op.create_check_constraint("model_mode", "projects", "model_mode IN ('allow_list', 'deny_list')")
    op.create_index("ix_projects_created_at_id", "projects", ["created_at", "id"])
    op.create_table(
        "project_members",
        sa.Column("project_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("added_at", moment, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "user_id", name="pk_project_members"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_project_members_project_id_projects"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_project_members_user_id_users"),
        sa.CheckConstraint("role IN ('owner', 'admin', 'member', 'viewer')", name=op.f("ck_project_members_role")),
    )
    op.create_index("ix_project_members_user_id", "project_members", ["user_id"])
    op.create_table(
        "service_accounts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("project_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("created_at", moment, server_default=sa.func.now(), nullable=False),
        sa.Column("deleted_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_service_accounts"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_service_accounts_project_id_projects"),
        sa.CheckConstraint("role IN ('owner', 'member', 'none')", name=op.f("ck_service_accounts_role")),
    )
    op.create_index("ix_service_accounts_project_id", "service_accounts", ["project_id", "created_at", "id"])
    upgrade_keys()


def upgrade_keys() -> None:
    for name in ("scopes", "models", "networks"):
        op.add_column("api_keys", sa.Column(name, texts, server_default=none, nullable=False))
    op.add_column("api_keys", sa.Column("service_account_id", sa.Text))
    op.add_column("api_keys", sa.Column("previous_digest", sa.LargeBinary))
    op.add_column("api_keys", sa.Column("previous_expires_at", moment))
    op.add_column("api_keys", sa.Column("last_used_at", moment))
    op.add_column("api_keys", sa.Column("version", sa.Integer, server_default="1", nullable=False))
    op.create_foreign_key(
        "fk_api_keys_service_account_id_service_accounts",
        "api_keys",
        "service_accounts",
        ["service_account_id"],
        ["id"],
    )
    op.create_check_constraint("one_owner", "api_keys", "user_id IS NULL OR service_account_id IS NULL")
    op.create_check_constraint(
        "previous_expires", "api_keys", "(previous_digest IS NULL) = (previous_expires_at IS NULL)"
    )
    op.drop_index("ix_api_keys_project_id", "api_keys")
    op.create_index("ix_api_keys_project_id", "api_keys", ["project_id", "created_at", "id"])
    op.create_index("ix_api_keys_user_id", "api_keys", ["user_id"])
    op.create_index("ix_api_keys_service_account_id", "api_keys", ["service_account_id"])
    op.create_index("uq_api_keys_previous_digest", "api_keys", ["previous_digest"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_api_keys_user_id", "api_keys")
    op.drop_index("ix_api_keys_project_id", "api_keys")
    op.create_index("ix_api_keys_project_id", "api_keys", ["project_id"])
    for name in ("version", "last_used_at", "previous_expires_at", "previous_digest", "service_account_id"):
        op.drop_column("api_keys", name)
    for name in ("networks", "models", "scopes"):
        op.drop_column("api_keys", name)
    op.drop_table("service_accounts")
    op.drop_table("project_members")
    op.drop_index("ix_projects_created_at_id", "projects")
    op.drop_column("projects", "model_ids")
    op.drop_column("projects", "model_mode")
