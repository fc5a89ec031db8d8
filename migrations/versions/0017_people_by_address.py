"""Indexes by which a person's deletion finds what was sent to their address, and a sign-in who was deleted with it.

Revision: 0017, after 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_index("ix_invites_pending_email", "invites", ["email"], postgresql_where=sa.text("accepted_at IS NULL"))
    op.create_index("ix_users_deleted_email", "users", ["email"], postgresql_where=sa.text("disabled_at IS NOT NULL"))


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_users_deleted_email", "users")
    op.drop_index("ix_invites_pending_email", "invites")
