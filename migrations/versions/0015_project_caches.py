"""Whether a project's answers are cached.

Revision: 0015, after 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "project_caches",
        sa.Column("project_id", sa.Text, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("ttl_seconds", sa.Integer),
        sa.PrimaryKeyConstraint("project_id", name="pk_project_caches"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_project_caches_project_id_projects"),
        sa.CheckConstraint("ttl_seconds > 0", name=op.f("ck_project_caches_ttl_seconds")),
    )


def downgrade() -> None:
    op.drop_table("project_caches")
