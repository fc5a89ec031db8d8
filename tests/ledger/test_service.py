"""Every entry is written exactly once, whatever happens to the database meanwhile; what cannot be is never silent."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.core.db import Database, DatabaseUnavailable
from app.core.health import Dependency
from app.errors import NotFound, Unavailable
from app.keys.caller import Caller
from app.ledger import service
from app.ledger.entries import Entry
from app.ledger.service import LedgerService
from app.observability.logging import build_logger
from app.setting_groups import Ledger as LedgerSettings
from app.setting_groups import Log
from app.settings import Settings
from tests.fixtures.own_servers import OwnServer
from tests.fixtures.waiting import until
from tests.ledger.conftest import make_entry, open_database, open_ledger, written

OURS = Caller("key_test", "api", "proj_default", None)
THEIRS = Caller("key_other", "api", "proj_other", None)
ADMIN = Caller("key_admin", "admin", None, None, organization_role="owner")


def append(ledger: LedgerService, count: int) -> list[str]:
    """Append *count* entries and return their request ids, sorted."""
    entries = [make_entry() for _ in range(count)]
    for entry in entries:
        ledger.append(entry)
    return sorted(entry.request_id for entry in entries)


def sample(ledger: LedgerService, name: str) -> Any:
    return ledger._metrics.registry.get_sample_value(name)


@asynccontextmanager
async def locked_ledger(settings: Settings) -> AsyncIterator[None]:
    """Hold the ledger's table in another session."""
    assert settings.database_url is not None
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    try:
        await connection.execute("BEGIN; LOCK TABLE ledger_entries")
        yield
    finally:
        await connection.close()


async def test_entries_are_written_in_the_background_and_counted(db: Database) -> None:
    ledger = open_ledger(db)

    expected = append(ledger, 1_200)
    assert ledger.pending == 1_200
    await ledger.drain()

    assert await written(db) == expected
    assert ledger.pending == 0
    assert sample(ledger, "weir_ledger_pending") == 0
    assert sample(ledger, "weir_ledger_flush_seconds_count") == 3


async def test_a_partition_that_is_not_there_is_made_for_an_entry(db: Database) -> None:
    ledger = open_ledger(db)
    late = make_entry(settled_at=datetime(1999, 1, 31, tzinfo=UTC))  # of a clock that was far from right

    before = append(ledger, 2)
    ledger.append(late)
    with capture_logs() as lines:
        async with asyncio.timeout(10):
            await ledger.drain()

    assert await written(db) == sorted([*before, late.request_id])
    assert lines == []
    async with db.transaction() as tx:
        await tx.execute(text("DROP TABLE ledger_entries_y1999m01"))


@pytest.mark.parametrize(
    "poison",
    [
        {"cost_nano": 2**63},
        {"cost_nano": -1},
        {"model": "with a NUL \0"},
        {"model": "with half a pair \ud800"},
        {"ending": "no such ending"},
        {"input_tokens": "many"},
    ],
)
async def test_an_entry_that_cannot_be_written_is_logged_in_full_and_stops_no_other(
    db: Database, poison: dict[str, Any]
) -> None:
    ledger = open_ledger(db)
    bad = make_entry(**poison)

    before = append(ledger, 2)
    ledger.append(bad)
    after = append(ledger, 2)
    with capture_logs() as lines:
        async with asyncio.timeout(10):
            await ledger.drain()

    assert await written(db) == sorted(before + after)
    [line] = lines
    assert (line["event"], line["log_level"]) == ("ledger_entry_not_written", "error")
    assert Entry(**{name: line[name] for name in Entry._fields})._replace(id=bad.id) == bad
    assert UUID(line["id"]) == bad.id
    ledger.require_writable()  # the database is well


async def test_the_line_of_an_entry_that_was_not_written_has_every_field_of_it() -> None:
    entry = make_entry(flags=("model_not_priced",), other_units={"images": 2})
    stream = io.BytesIO()

    build_logger(Log(format="json"), stream).error("ledger_entry_not_written", **service._printable(entry))

    line = orjson.loads(stream.getvalue())
    for name, value in entry._asdict().items():
        if isinstance(value, datetime):
            assert datetime.fromisoformat(line[name]) == value
        else:
            assert line[name] == (
                str(value) if isinstance(value, UUID) else list(value) if isinstance(value, tuple) else value
            )


async def test_entries_wait_while_the_database_is_away_and_are_written_once_when_it_is_back(
    own_db: Database, own_postgres: OwnServer
) -> None:
    ledger = open_ledger(own_db)
    expected = append(ledger, 3_000)
    await until(lambda: ledger.pending < 3_000)

    own_postgres.kill()
    expected += append(ledger, 10)
    await until(lambda: not own_db._health.is_up)
    assert 0 < ledger.pending < 3_010
    with pytest.raises(Unavailable, match="no call can be charged"):
        ledger.require_writable()

    own_postgres.start()
    async with asyncio.timeout(20):
        await ledger.drain()

    assert await written(own_db) == sorted(expected)
    ledger.require_writable()


class ForgetfulDatabase(Database):
    """Loses the connection after each commit, before it was acknowledged, as often as `losses` says."""

    losses = 0

    @asynccontextmanager
    async def hot_connection(self) -> AsyncIterator[Any]:
        async with super().hot_connection() as connection:
            yield connection
        if self.losses:
            self.losses -= 1
            raise DatabaseUnavailable("the connection was lost")


async def test_entries_whose_commit_was_not_acknowledged_are_not_there_twice(db: Database, settings: Settings) -> None:
    assert settings.database_url is not None
    forgetful = ForgetfulDatabase(settings.database_url.get_secret_value(), settings.database, Dependency("database"))
    forgetful.losses = 2
    ledger = open_ledger(forgetful)

    expected = append(ledger, 5)
    await ledger.drain()

    assert forgetful.losses == 0
    assert await written(db) == expected
    await forgetful.close()


async def test_when_too_many_entries_wait_calls_are_refused_until_they_are_written(
    own_db: Database, own_settings: Settings
) -> None:
    patient = open_database(own_settings, lock_timeout_seconds=60)
    ledger = open_ledger(patient, queue_entries_max=3)
    async with locked_ledger(own_settings):
        append(ledger, 2)
        ledger.require_writable()
        append(ledger, 1)
        with pytest.raises(Unavailable, match="Too many calls") as caught:
            ledger.require_writable()
    assert caught.value.status == 503
    assert caught.value.code == "service_unavailable"
    assert int(caught.value.headers["retry-after"]) > 0

    await ledger.drain()

    ledger.require_writable()
    await patient.close()


async def test_a_database_that_answers_but_takes_no_entries_stops_calls_and_is_said_once(own_db: Database) -> None:
    await run(own_db, _FULL_DISK)
    try:
        ledger = open_ledger(own_db)
        expected = append(ledger, 2)
        with capture_logs() as lines:
            await until(lambda: not ledger.health.is_up)
            await own_db.ping()  # as the health service does
            assert own_db._health.is_up
            with pytest.raises(Unavailable):
                ledger.require_writable()
            await run(own_db, "DROP TRIGGER full_disk ON ledger_entries")
            await ledger.drain()
    finally:
        await run(own_db, "DROP FUNCTION full_disk CASCADE")

    assert [(line["event"], line["dependency"]) for line in lines] == [
        ("dependency_lost", "ledger"),
        ("dependency_back", "ledger"),
    ]
    assert lines[0]["reason"] == "DiskFullError: could not extend file: No space left on device"
    assert await written(own_db) == expected
    ledger.require_writable()


async def test_calls_go_on_after_an_outage_of_which_the_only_entry_left_cannot_be_written(own_db: Database) -> None:
    await run(own_db, _FULL_DISK)
    ledger = open_ledger(own_db)
    ledger.append(make_entry(ending="no such ending"))
    try:
        await until(lambda: not ledger.health.is_up)
    finally:
        await run(own_db, "DROP FUNCTION full_disk CASCADE")
    await ledger.drain()

    ledger.require_writable()  # nothing else would ever find out that it takes entries again


_FULL_DISK = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON ledger_entries FOR EACH ROW EXECUTE FUNCTION full_disk()
"""


async def run(db: Database, statements: str) -> None:
    async with db.hot_connection() as connection:
        await connection.execute(statements)


async def test_entries_that_a_lock_holds_up_are_written_when_it_is_gone(
    own_db: Database, own_settings: Settings
) -> None:
    ledger = open_ledger(own_db)
    async with locked_ledger(own_settings):
        expected = append(ledger, 2)
        await until(lambda: not ledger.health.is_up)
    await ledger.drain()

    assert await written(own_db) == expected
    assert ledger.health.is_up


async def test_closing_writes_what_is_pending(db: Database) -> None:
    ledger = open_ledger(db)
    expected = append(ledger, 600)

    await ledger.close(grace_seconds=30)

    assert await written(db) == expected


async def test_closing_logs_what_could_not_be_written(own_db: Database, own_postgres: OwnServer) -> None:
    ledger = open_ledger(own_db)
    own_postgres.kill()
    expected = append(ledger, 600)

    with capture_logs() as lines:
        await ledger.close(grace_seconds=0.05)
        await own_db.close()

    lost = [line for line in lines if line["event"] == "ledger_entry_not_written"]
    assert sorted(line["request_id"] for line in lost) == expected
    assert all(set(Entry._fields) <= set(line) for line in lost)
    assert ledger.pending == 0


async def test_a_receipt_is_for_its_own_project_and_for_admins(db: Database) -> None:
    ledger = open_ledger(db)
    entry = make_entry()
    ledger.append(entry)
    await ledger.drain()

    assert (await ledger.get_attempts(OURS, entry.request_id)).entries == [entry]
    assert (await ledger.get_attempts(ADMIN, entry.request_id)).entries == [entry]
    with pytest.raises(NotFound) as caught:
        await ledger.get_attempts(THEIRS, entry.request_id)
    with pytest.raises(NotFound) as unknown:
        await ledger.get_attempts(THEIRS, "req_nobody")
    assert caught.value.message.replace(entry.request_id, "") == unknown.value.message.replace("req_nobody", "")


class CountingDatabase(Database):
    """Counts the transactions that have ended."""

    ended = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with super().transaction() as tx:
            yield tx
        self.ended += 1


async def test_a_receipt_waits_for_its_row(db: Database, settings: Settings) -> None:
    assert settings.database_url is not None
    counting = CountingDatabase(settings.database_url.get_secret_value(), settings.database, Dependency("database"))
    ledger = open_ledger(counting)
    entry = make_entry()

    asking = asyncio.create_task(ledger.get_attempts(OURS, entry.request_id))
    await until(lambda: counting.ended == 1)  # it was not there
    ledger.append(entry)

    assert (await asking).entries == [entry]
    await counting.close()


async def test_partitions_are_made_for_this_month_and_those_ahead(db: Database) -> None:
    ledger = LedgerService(
        db, db._health, LedgerSettings(partitions_months_ahead=2), open_ledger(db)._metrics, lambda: _FAR
    )

    await ledger.create_partitions()

    async with db.hot_connection() as connection:
        rows = await connection.fetch("SELECT relname FROM pg_class WHERE relname LIKE 'ledger_entries_y204_m__'")
        await connection.execute("".join(f"DROP TABLE {row[0]};" for row in rows))
    assert sorted(row[0] for row in rows) == [f"ledger_entries_y{month}" for month in ("2040m12", "2041m01", "2041m02")]


_FAR = datetime(2040, 12, 31, 23, 59, tzinfo=UTC)


async def test_partitions_are_tried_again_after_a_failure(
    own_db: Database, own_postgres: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_PARTITION_CHECK_SECONDS", 0.01)
    asked: list[datetime] = []
    ledger = open_ledger(own_db)

    def clock() -> datetime:
        asked.append(_FAR)
        if len(asked) == 1:
            raise DatabaseUnavailable("as the test wants it")
        return _FAR

    ledger._clock = clock
    with capture_logs() as lines:
        keeping = asyncio.create_task(ledger.keep_partitions())
        await until(lambda: len(asked) > 3)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    assert [line["event"] for line in lines] == ["ledger_partitions_not_made"]
    async with own_db.hot_connection() as connection:
        assert await connection.fetchval("SELECT to_regclass('ledger_entries_y2040m12')") is not None
