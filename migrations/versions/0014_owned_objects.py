"""Which project, and which upstream, owns what is stored upstream.

Revision: 0014, after 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "owned_objects",
        sa.Column("project_id", sa.Text, nullable=False),
        sa.Column("object_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "object_id", name="pk_owned_objects"),
        sa.UniqueConstraint("object_id", "upstream", name="uq_owned_objects_object_id_upstream"),
    )
    op.create_index("ix_owned_objects_created_at", "owned_objects", ["created_at"], postgresql_using="brin")
    op.create_index(
        "ix_owned_objects_project_id_kind_upstream",
        "owned_objects",
        ["project_id", "kind", "upstream"],
        postgresql_where=sa.text("kind NOT IN ('response', 'item')"),
    )


def downgrade() -> None:
    op.drop_table("owned_objects")
