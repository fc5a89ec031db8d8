"""Every migration goes up, down and up again, ends where the models are, and does not wait for a lock for long."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from app.answers import models as _answers  # noqa: F401 - their tables are in Base
from app.audit import models as _audit  # noqa: F401
from app.budgets import models as _budgets  # noqa: F401
from app.core import schema
from app.core.clock import utc_now
from app.core.db import Database
from app.core.money import Nano
from app.core.orm import Base
from app.idempotency import models as _idempotency  # noqa: F401
from app.identity import models as _identity  # noqa: F401
from app.keys import models as _keys  # noqa: F401
from app.ledger import models as _ledger  # noqa: F401
from app.ledger import repository as ledger
from app.ledger import rollup_models as _rollups  # noqa: F401
from app.limits import models as _limits  # noqa: F401
from app.ownership import models as _ownership  # noqa: F401
from app.prices import models as _prices  # noqa: F401
from app.projects import models as _projects  # noqa: F401
from app.reconciliation import models as _reconciliation  # noqa: F401
from app.settings import Settings
from app.upstreams import breaker_models as _breakers  # noqa: F401
from app.upstreams import models as _upstreams  # noqa: F401
from tests.ledger.conftest import make_entry
from tests.migrations.conftest import ROOT, Holder, downgrade

REVISIONS = sorted(schema._revisions())

# Alembic does not compare checks and partitioning, so the catalogue is asked for everything that has a name.
CATALOGUE = """
SELECT 'column', c.relname, a.attname,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conparentid = 0
UNION ALL
SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'partitioning', partrelid::regclass::text, '', pg_get_partkeydef(partrelid) FROM pg_partitioned_table
UNION ALL
SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid)
  FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0
UNION ALL
SELECT 'function', '', proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


async def catalogue(db: Database) -> set[tuple[str, ...]]:
    async with db.transaction() as tx:
        rows = {tuple(row) for row in await tx.execute(text(CATALOGUE))}
    return {row for row in rows if row[1] != "alembic_version"}


@pytest.mark.parametrize("number", range(len(REVISIONS)))
async def test_each_migration_goes_up_down_and_up_again(db: Database, number: int) -> None:
    if number:
        await schema.migrate(db, REVISIONS[number - 1])
    before = await catalogue(db)

    await schema.migrate(db, REVISIONS[number])
    after = await catalogue(db)
    await downgrade(db, "-1")

    assert await catalogue(db) == before != after
    await schema.migrate(db, REVISIONS[number])
    assert await catalogue(db) == after


async def test_migrations_end_where_the_models_are(db: Database) -> None:
    def make_models(connection: Connection) -> None:
        Base.metadata.drop_all(connection)
        Base.metadata.create_all(connection)

    await schema.migrate(db)
    migrated = await catalogue(db)
    await schema.change(db, lambda connection: schema.run_alembic(connection, "check"))
    async with db.transaction() as tx:
        await tx.run_sync(make_models)

    assert migrated == await catalogue(db)


async def test_the_ledgers_partitions_are_no_drift_and_go_down_with_it(db: Database) -> None:
    await schema.migrate(db)
    async with db.transaction() as tx:
        await ledger.create_partitions(tx, utc_now(), 2)

    await schema.change(db, lambda connection: schema.run_alembic(connection, "check"))
    await downgrade(db, "base")

    assert await catalogue(db) == set()
    assert await schema.current_revision(db) is None


async def test_a_ledger_with_corrections_goes_down_with_all_its_entries(db: Database) -> None:
    await schema.migrate(db)
    correction = make_entry(cost_nano=Nano(-7_000), flags=("correction",))
    async with db.transaction() as tx:
        await ledger.create_partitions(tx, correction.settled_at, 1)
    async with db.hot_connection() as connection:
        await ledger.insert_entries(connection, [correction])

    await downgrade(db, "0001")
    async with db.transaction() as tx:
        assert await tx.scalar(text("SELECT sum(cost_nano) FROM ledger_entries")) == -7_000

    await schema.migrate(db)
    await schema.check(db)


async def test_a_migration_that_needs_a_lock_for_too_long_gives_up_and_changes_nothing(
    db: Database, empty_settings: Settings, later: Path
) -> None:
    await schema.migrate(db, REVISIONS[-1])
    async with Holder(empty_settings):
        with pytest.raises(schema.SchemaError, match=r"gave up waiting for a lock.*nothing was changed.*run it again"):
            await schema.migrate(db)

    assert await schema.current_revision(db) == REVISIONS[-1]
    await schema.migrate(db)
    assert await schema.current_revision(db) == "0002_later"


async def test_on_the_way_down_a_migration_does_not_wait_either(
    db: Database, empty_settings: Settings, later: Path
) -> None:
    await schema.migrate(db)
    async with Holder(empty_settings):
        with pytest.raises(schema.SchemaError, match="gave up waiting for a lock"):
            await downgrade(db, REVISIONS[-1])

    assert await schema.current_revision(db) == "0002_later"
    await downgrade(db, REVISIONS[-1])
    assert await schema.current_revision(db) == REVISIONS[-1]


async def test_several_processes_may_migrate_at_once(db: Database, empty_settings: Settings) -> None:
    ended = await asyncio.gather(
        *(asyncio.to_thread(run_alembic, empty_settings, ROOT, "upgrade", "head") for _ in range(3))
    )

    assert [process.returncode for process in ended] == [0, 0, 0], [process.stderr for process in ended]
    assert await schema.is_current(db)


def run_alembic(settings: Settings, directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    assert settings.database_url is not None
    environment = {**os.environ, "WEIR_DATABASE_URL": settings.database_url.get_secret_value(), "PYTHONPATH": str(ROOT)}
    command_line = [sys.executable, "-m", "alembic", "-c", str(directory / "alembic.ini"), *words]
    return subprocess.run(command_line, env=environment, cwd="/", text=True, capture_output=True, check=False)


async def test_alembic_itself_goes_up_and_down(db: Database, empty_settings: Settings) -> None:
    up = await asyncio.to_thread(run_alembic, empty_settings, ROOT, "upgrade", "head")
    assert up.returncode == 0, up.stderr
    assert await schema.is_current(db)

    down = await asyncio.to_thread(run_alembic, empty_settings, ROOT, "downgrade", "base")
    assert down.returncode == 0, down.stderr
    assert await schema.current_revision(db) is None


async def test_alembic_itself_says_what_it_waited_for(db: Database, empty_settings: Settings, later: Path) -> None:
    await schema.migrate(db)
    async with Holder(empty_settings):
        down = await asyncio.to_thread(run_alembic, empty_settings, later, "downgrade", "-1")

    assert down.returncode == 1
    assert down.stderr.startswith("the migration gave up waiting for a lock")


async def test_alembic_itself_writes_a_new_migration_that_can_be_applied(
    db: Database, empty_settings: Settings, later: Path
) -> None:
    await schema.migrate(db)

    written = await asyncio.to_thread(run_alembic, empty_settings, later, "revision", "-m", "More tables")

    assert written.returncode == 0, written.stderr
    schema.needed_revision.cache_clear()
    assert schema.needed_revision() != "0002_later"
    await schema.migrate(db)
    await schema.check(db)


def test_alembic_itself_needs_an_address(settings: Settings) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "WEIR_DATABASE_URL"}
    ended = subprocess.run(
        [sys.executable, "-m", "alembic", "current"],
        env=environment,
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )

    assert ended.returncode == 1
    assert "WEIR_DATABASE_URL is not set" in ended.stderr
