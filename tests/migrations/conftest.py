import shutil
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from app.core import schema
from app.core.db import Database
from app.first_run import open_database
from app.settings import Settings

ROOT = Path(__file__).parents[2]
LATER = '''"""A later migration.

Revision: 0002_later, after what is there
"""

import sqlalchemy as sa
from alembic import op

revision = "0002_later"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("projects", sa.Column("later", sa.Text))


def downgrade() -> None:
    op.drop_column("projects", "later")
'''


@pytest.fixture
async def db(empty_settings: Settings):  # type: ignore[no-untyped-def]
    """Yield a database without a schema."""
    db = open_database(empty_settings)
    yield db
    await db.close()


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make this program one that is a migration ahead, and impatient; return where its `alembic.ini` is."""
    head = schema.needed_revision()
    migrations = shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    env = (migrations / "env.py").read_text()
    assert "_LOCK_TIMEOUT_MS = 5_000" in env
    (migrations / "env.py").write_text(env.replace("_LOCK_TIMEOUT_MS = 5_000", "_LOCK_TIMEOUT_MS = 100"))
    (migrations / "versions" / "0002_later.py").write_text(LATER.format(head=head))
    monkeypatch.setattr(schema, "_MIGRATIONS", migrations)
    schema.needed_revision.cache_clear()
    yield tmp_path
    schema.needed_revision.cache_clear()


async def downgrade(db: Database, revision: str) -> None:
    """Go down to *revision*, which may be "-1"."""
    await schema.change(db, lambda connection: schema.run_alembic(connection, "downgrade", revision))


class Holder:
    """Another session in the middle of a transaction that has read from projects."""

    def __init__(self, settings: Settings) -> None:
        assert settings.database_url is not None
        self._url = settings.database_url.get_secret_value()

    async def __aenter__(self) -> None:
        self._connection = await asyncpg.connect(self._url)
        await self._connection.execute("BEGIN; SELECT count(*) FROM projects")

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()
