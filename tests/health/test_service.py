"""Readiness without a request: the checks that need a database which answers one thing and not another."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.core.db import Database
from app.core.health import Dependency
from app.core.redis import Redis
from app.health.service import HealthService
from app.settings import Settings
from tests.fixtures.own_servers import OwnServer
from tests.fixtures.waiting import until


@pytest.fixture
async def health(own_settings: Settings) -> AsyncIterator[HealthService]:
    assert own_settings.database_url is not None
    assert own_settings.redis_url is not None
    database, redis_health = Dependency("database"), Dependency("redis")
    settings = own_settings.database.model_copy(update={"lock_timeout_seconds": 0.1})
    db = Database(own_settings.database_url.get_secret_value(), settings, database)
    redis = Redis(own_settings.redis_url.get_secret_value(), own_settings.redis, redis_health)
    yield HealthService(db, redis, database, redis_health, Dependency("ledger"), Dependency("limits"))
    await redis.close()
    await db.close()


async def test_a_schema_that_cannot_be_read_now_is_a_reason(health: HealthService, own_postgres: OwnServer) -> None:
    holder = await asyncpg.connect(own_postgres.url)
    try:
        await holder.execute("BEGIN; LOCK TABLE alembic_version")
        state, checks = await health.readiness()
    finally:
        await holder.close()

    [schema] = [check for check in checks if not check.is_ok]
    assert (state, schema.name) == ("unavailable", "schema")
    assert schema.reason == "LockNotAvailableError: canceling statement due to lock timeout"


async def test_the_watch_notices_an_outage_and_its_end_without_a_call(
    health: HealthService, own_postgres: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.health.service._WATCH_SECONDS", 0.01)
    watching = asyncio.create_task(health.watch())

    own_postgres.kill()
    await until(lambda: not health._database.is_up)
    own_postgres.start()
    await until(lambda: health._database.is_up)

    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
