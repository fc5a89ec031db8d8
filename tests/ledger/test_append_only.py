"""The database itself refuses to change what is written in the ledger."""

import asyncpg
import pytest

from app.core import schema
from app.core.clock import utc_now
from app.core.db import Database
from app.ledger import repository
from app.settings import Settings
from tests.ledger.conftest import make_entry, open_database, written
from tests.migrations.conftest import downgrade

CHANGES = (
    "UPDATE {} SET cost_nano = 0",
    "UPDATE {} SET flags = flags",
    "DELETE FROM {}",
    "DELETE FROM {} WHERE request_id IN (SELECT request_id FROM ledger_entries)",
)


def this_month() -> str:
    return f"ledger_entries_y{utc_now():%Ym%m}"


@pytest.mark.parametrize("change", CHANGES)
async def test_no_entry_is_changed_or_deleted_through_the_ledger_or_its_partition(db: Database, change: str) -> None:
    entry = make_entry()
    async with db.hot_connection() as connection:
        await repository.insert_entries(connection, [entry])

        for table in ("ledger_entries", this_month()):
            with pytest.raises(asyncpg.RaiseError, match=r"^the ledger is append-only$"):
                await connection.execute(change.format(table))

    assert await written(db) == [entry.request_id]


async def test_an_entry_is_not_moved_to_another_month_either(db: Database) -> None:
    async with db.hot_connection() as connection:
        await repository.insert_entries(connection, [make_entry()])
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await connection.execute("UPDATE ledger_entries SET settled_at = settled_at + interval '40 days'")


async def test_the_ledger_is_not_emptied_by_truncating_it(db: Database) -> None:
    entry = make_entry()
    async with db.hot_connection() as connection:
        await repository.insert_entries(connection, [entry])
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await connection.execute("TRUNCATE ledger_entries")

    assert await written(db) == [entry.request_id]


async def test_a_month_may_still_be_dropped_as_retention_does(db: Database) -> None:
    async with db.hot_connection() as connection:
        await repository.insert_entries(connection, [make_entry()])
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(f"DROP TABLE {this_month()}")
        assert await connection.fetchval("SELECT count(*) FROM ledger_entries") == 0
        await transaction.rollback()


async def test_entries_of_before_the_rollups_are_marked_when_the_schema_is_migrated(empty_settings: Settings) -> None:
    db = open_database(empty_settings)
    entries = [make_entry(), make_entry()]
    await schema.migrate(db)
    async with db.transaction() as tx:
        await repository.create_partitions(tx, utc_now(), 1)
    async with db.hot_connection() as connection:
        await repository.insert_entries(connection, entries)
    await downgrade(db, "0003")

    await schema.migrate(db)

    async with db.hot_connection() as connection:
        rows = await connection.fetch("SELECT minute FROM ledger_changes")
    assert {row[0] for row in rows} == {entry.settled_at.replace(second=0, microsecond=0) for entry in entries}
    await db.close()
