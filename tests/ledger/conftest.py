import asyncio
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from prometheus_client import CollectorRegistry

from app.core.clock import utc_now
from app.core.db import Database
from app.core.health import Dependency
from app.core.ids import new_id, new_uuid7
from app.core.money import Nano
from app.ledger.entries import Entry
from app.ledger.service import LedgerService
from app.observability.metrics import Metrics
from app.setting_groups import Ledger as LedgerSettings
from app.settings import Settings
from tests.fixtures.emptying import empty
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, settle_all


def make_entry(**changes: Any) -> Entry:
    """Return an entry of its own, settled now."""
    now = utc_now()
    entry = Entry(
        id=new_uuid7(int(now.timestamp() * 1_000)),
        settled_at=now,
        request_id=new_id("req"),
        project_id="proj_default",
        user_id=None,
        key_id="key_test",
        operation="chat.completions",
        upstream="openai",
        upstream_request_id="req_upstream",
        model="gpt-4o-mini",
        answered_model="gpt-4o-mini-2024-07-18",
        service_tier="default",
        streamed=False,
        status=200,
        ending="settled",
        outcome="completed",
        input_tokens=12,
        cached_input_tokens=4,
        cache_write_tokens=0,
        input_audio_tokens=0,
        output_tokens=7,
        reasoning_tokens=3,
        output_audio_tokens=0,
        other_units=None,
        cost_nano=Nano(5_700),
        ceiling_nano=Nano(9_000),
        price_id="a price",
        flags=(),
        started_at=datetime(2026, 11, 22, 12, 0, 0, 123456, UTC),
        first_byte_us=1_000,
        upstream_us=2_000,
        gateway_us=300,
    )
    return entry._replace(**changes)


def open_ledger(db: Database, **changes: Any) -> LedgerService:
    return LedgerService(db, db._health, LedgerSettings(**changes), Metrics(CollectorRegistry()), utc_now)


def open_database(settings: Settings, **changes: Any) -> Database:
    """Return the database of *settings* with its own timeouts."""
    assert settings.database_url is not None
    configured = settings.database.model_copy(update=changes)
    return Database(settings.database_url.get_secret_value(), configured, Dependency("database"))


Done = TypeVar("Done")


async def done_while_locked(db: Database, table: str, work: Coroutine[Any, Any, Done]) -> Done:
    """Await *work* while somebody holds *table*, until one of its statements has waited for longer than a second."""
    doing = asyncio.create_task(work)
    late = """
        SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND query_start < clock_timestamp() - interval '1 second'
    """

    async def has_waited() -> bool:
        return doing.done() or bool(await connection.fetchval(late))

    async with db.hot_connection() as connection, db.hot_connection() as holder, holder.transaction():
        await holder.execute(f"LOCK TABLE {table}")
        await until(has_waited)
    return await doing


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    db = open_database(settings)
    await settle_all()
    await open_ledger(db).create_partitions()
    async with db.hot_connection() as connection:  # other tests of this worker may have left some
        await empty(connection)
    yield db
    async with db.hot_connection() as connection:
        await empty(connection)
    await db.close()


@pytest.fixture
async def own_db(own_settings: Settings) -> AsyncIterator[Database]:
    """Yield a database that the test may break, with an empty ledger."""
    db = open_database(own_settings, connect_timeout_seconds=0.5, lock_timeout_seconds=0.2)
    await open_ledger(db).create_partitions()
    async with db.hot_connection() as connection:
        await empty(connection)
    yield db
    await db.close()


@pytest.fixture
async def organization(weir: RunningWeir) -> AsyncIterator[Any]:
    """Yield the official SDK's `client.admin.organization`, with the admin key only."""
    async with weir.openai(admin_api_key=weir.admin_key, api_key=None) as client:
        yield client.admin.organization


async def written(db: Database) -> list[str]:
    """Return the request ids in the ledger, one for each row."""
    async with db.hot_connection() as connection:
        rows = await connection.fetch("SELECT request_id FROM ledger_entries")
    return sorted(row[0] for row in rows)
