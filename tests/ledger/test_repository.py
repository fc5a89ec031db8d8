"""Entries come back as they went in, are there once, and are found by an index; months have their partitions."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from sqlalchemy import event

from app.core import schema
from app.core.db import Database
from app.core.money import Nano
from app.ledger import repository
from app.ledger.entries import Ending, Entry
from app.settings import Settings
from tests.ledger.conftest import make_entry, open_database, written

FULL = make_entry(
    other_units={"web_searches": 2, "images": 1},
    flags=("model_not_priced", "overrun"),
    streamed=True,
    cost_nano=2**63 - 1,
    input_tokens=2**40,
)
SPARSE = make_entry(
    upstream_request_id=None,
    answered_model=None,
    service_tier=None,
    price_id=None,
    first_byte_us=None,
    status=502,
    ending="estimated",
    outcome="upstream_broke",
)
STRANGE = make_entry(model='mo"del, \\ {NULL} ü 🦫', answered_model="NULL", service_tier="", flags=("a b", "ü"))


async def insert(db: Database, *entries: Entry) -> None:
    async with db.hot_connection() as connection:
        await repository.insert_entries(connection, entries)


async def find(db: Database, request_id: str, project_id: str | None = None) -> Entry | None:
    async with db.transaction() as tx:
        entries = (await repository.find_entries(tx, request_id, project_id and [project_id], 20))[0]
        return entries[0] if entries else None


async def test_entries_come_back_as_they_went_in(db: Database) -> None:
    entries = [FULL, SPARSE, STRANGE, *(make_entry(ending=ending) for ending in get_args(Ending))]

    await insert(db, *entries)

    for entry in entries:
        assert await find(db, entry.request_id) == entry


async def test_the_same_entry_twice_is_one_row_that_stays_as_it_was(db: Database) -> None:
    entry = make_entry()

    await insert(db, entry, entry)
    await insert(db, make_entry(), entry._replace(cost_nano=Nano(1)))

    assert await find(db, entry.request_id) == entry
    assert (await written(db)).count(entry.request_id) == 1


async def test_a_negative_cost_is_refused(db: Database) -> None:
    async with db.hot_connection() as connection:
        with pytest.raises(Exception, match="ck_ledger_entries_cost_is_not_negative"):
            await repository.insert_entries(connection, [make_entry(cost_nano=-1)])


async def test_an_entry_is_found_in_its_own_project_only_unless_all_are_asked_for(db: Database) -> None:
    entry = make_entry(project_id="proj_theirs")
    await insert(db, entry)

    assert await find(db, entry.request_id, "proj_ours") is None
    assert await find(db, entry.request_id, "proj_theirs") == entry
    assert await find(db, entry.request_id) == entry
    assert await find(db, "req_nobody") is None


async def test_of_several_entries_of_one_request_the_newest_is_found(db: Database) -> None:
    older = make_entry()
    newer = make_entry(request_id=older.request_id, settled_at=older.settled_at + timedelta(microseconds=1))
    await insert(db, newer, older)

    assert await find(db, older.request_id) == newer


@pytest.mark.parametrize("project_id", ["proj_7", None])
async def test_a_receipt_is_found_by_an_index_in_every_partition(db: Database, project_id: str | None) -> None:
    entries = [make_entry(project_id=f"proj_{number % 40}") for number in range(2_000)]
    await insert(db, *entries)
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(db._engine.sync_engine, "before_cursor_execute", note)
    await find(db, entries[7].request_id, project_id)
    event.remove(db._engine.sync_engine, "before_cursor_execute", note)

    [(statement, parameters)] = statements
    async with db.hot_connection() as connection:
        await connection.execute("ANALYZE ledger_entries")
        rows = await connection.fetch(f"EXPLAIN {statement}", *parameters)
    plan = "\n".join(row[0] for row in rows)
    partition = f"ledger_entries_y{entries[0].settled_at:%Ym%m}"
    assert f"Seq Scan on {partition}" not in plan
    assert f"on {partition}_request_id_project_id_idx" in plan or f"{partition}_request_id_project_id_idx on" in plan
    assert "Index Cond: (request_id = " in plan or "Index Cond: ((request_id = " in plan


@pytest.fixture
async def new_ledger(empty_settings: Settings) -> AsyncIterator[Database]:
    """Yield a database whose ledger has no partitions yet."""
    db = open_database(empty_settings)
    await schema.migrate(db)
    yield db
    await db.close()


async def make_partitions(db: Database, first: datetime, months: int) -> None:
    async with db.transaction() as tx:
        await repository.create_partitions(tx, first, months)


async def partitions(db: Database) -> list[str]:
    async with db.hot_connection() as connection:
        rows = await connection.fetch(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent::regclass = "
            "'ledger_entries'::regclass ORDER BY 1"
        )
    return [row[0] for row in rows]


async def test_partitions_go_from_december_to_january_and_are_made_once(new_ledger: Database) -> None:
    december = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    expected = ["ledger_entries_y2026m12", "ledger_entries_y2027m01", "ledger_entries_y2027m02"]

    for _ in range(2):
        await make_partitions(new_ledger, december, 3)

        assert await partitions(new_ledger) == expected


async def test_two_processes_may_make_partitions_at_once(new_ledger: Database, empty_settings: Settings) -> None:
    other = open_database(empty_settings)
    first = datetime(2026, 1, 1, tzinfo=UTC)

    await asyncio.gather(*(make_partitions(db, first, 12) for db in (new_ledger, other, new_ledger, other)))

    assert len(await partitions(new_ledger)) == 12
    await other.close()


async def test_an_entry_at_the_end_of_a_month_is_in_that_months_partition_in_utc(new_ledger: Database) -> None:
    await make_partitions(new_ledger, datetime(2026, 12, 15, tzinfo=UTC), 2)
    moments = {
        datetime(2026, 12, 1, tzinfo=UTC): "ledger_entries_y2026m12",
        datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC): "ledger_entries_y2026m12",
        datetime(2027, 1, 1, tzinfo=UTC): "ledger_entries_y2027m01",
        datetime(2027, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC): "ledger_entries_y2027m01",
    }

    await insert(new_ledger, *(make_entry(settled_at=moment) for moment in moments))

    async with new_ledger.hot_connection() as connection:
        rows = await connection.fetch("SELECT settled_at, tableoid::regclass::text FROM ledger_entries")
    assert dict(tuple(row) for row in rows) == moments
