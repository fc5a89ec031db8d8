"""What version the schema is of, and what is said when it is another one than needed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from app.core import schema
from app.core.db import Database, DatabaseUnavailable
from app.core.health import Dependency
from app.first_run import open_database
from app.setting_groups import Database as DatabaseSettings
from app.settings import Settings


@pytest.fixture
async def db(empty_settings: Settings) -> AsyncIterator[Database]:
    db = open_database(empty_settings)
    yield db
    await db.close()


async def test_an_empty_database_is_at_nothing(db: Database) -> None:
    assert await schema.current_revision(db) is None
    assert not await schema.is_current(db)
    with pytest.raises(schema.SchemaError, match=r"is at nothing.*run `weir migrate`"):
        await schema.check(db)


async def test_a_migrated_database_is_current_and_migrating_again_changes_nothing(db: Database) -> None:
    await schema.migrate(db)
    await schema.migrate(db)

    assert await schema.current_revision(db) == schema.needed_revision()
    assert await schema.is_current(db)
    await schema.check(db)


async def test_a_schema_of_a_newer_weir_is_neither_used_nor_touched(db: Database) -> None:
    await schema.migrate(db)
    async with db.transaction() as tx:
        await tx.execute(text("UPDATE alembic_version SET version_num = '0999'"))

    for refuse in (schema.check, schema.migrate):
        with pytest.raises(schema.SchemaError, match=r"at 0999, which this Weir does not know: .*upgrade Weir"):
            await refuse(db)


async def test_a_migration_without_a_database_is_unavailable() -> None:
    db = Database("postgresql://127.0.0.1:1/weir", DatabaseSettings(), Dependency("database"))

    with pytest.raises(DatabaseUnavailable):
        await schema.change(db, lambda _: None)


def test_a_program_without_migrations_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "versions").mkdir()
    monkeypatch.setattr(schema, "_MIGRATIONS", tmp_path)

    with pytest.raises(schema.SchemaError, match="there are no migrations in"):
        schema.needed_revision.__wrapped__()
