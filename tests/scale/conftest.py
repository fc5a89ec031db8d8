"""A PostgreSQL that holds a million calls and logs the plan of every statement, and a Weir on it."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from pydantic import SecretStr

from app.core.clock import utc_now
from app.embedded.postgres import Postgres
from app.first_run import open_database, prepare
from app.ledger import repository as ledger
from app.settings import Settings
from app.simulator.app import Simulator
from tests.fixtures.own_servers import OwnServer, own_directory
from tests.fixtures.weir import RunningWeir, run_weir, with_changes, with_upstream
from tests.scale import filling, plans

_FAST: Final = {
    "shared_buffers": "256MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "4GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class LargeWeir(RunningWeir):
    """A Weir with so many entries that nobody wants to have them all."""

    async def entries(self) -> list[dict[str, Any]]:
        """Wait until nothing is waiting to be written."""
        await self.wiring.ledger.drain()
        return []


@pytest.fixture(scope="module")
def _large_postgres() -> Iterator[tuple[OwnServer, Path]]:
    with own_directory() as directory:
        part = Postgres(directory, durable=False, bin_directory=None)
        launch = part.prepare()
        options = [word for name, value in (_FAST | plans.OPTIONS).items() for word in ("-c", f"{name}={value}")]
        server = OwnServer(replace(launch, argv=[*launch.argv, *options]), part.url())
        try:
            yield server, launch.log
        finally:
            server.stop()
            part.lock.close()


@pytest.fixture(scope="module")
async def _large_settings(settings: Settings, _large_postgres: tuple[OwnServer, Path]) -> Settings:
    large = settings.model_copy(update={"database_url": SecretStr(_large_postgres[0].url)})
    await prepare(large, migrate=True)
    db = open_database(large)
    months = 2 + filling.DAYS // 28
    async with db.transaction() as tx:
        await ledger.create_partitions(tx, utc_now() - timedelta(days=filling.DAYS), months)
    await db.close()
    connection = await asyncpg.connect(_large_postgres[0].url)
    await filling.fill(connection)
    await connection.close()
    return large


@pytest.fixture(scope="module")
async def log(_large_settings: Settings, _large_postgres: tuple[OwnServer, Path]) -> plans.Log:
    """What was run since the database was filled."""
    connection = await asyncpg.connect(_large_postgres[0].url)
    rows = await connection.fetch(plans.TABLES)
    await connection.close()
    return plans.Log(_large_postgres[1], rows)


@pytest.fixture(scope="module")
async def large_weir(
    _large_settings: Settings, log: plans.Log, shared_simulator: tuple[Simulator, str]
) -> AsyncIterator[LargeWeir]:
    """A Weir whose jobs have all run once."""
    simulator, base_url = shared_simulator
    settings = with_changes(with_upstream(_large_settings, base_url), {"keys.last_used_interval_seconds": 0.5})
    async with run_weir(settings, simulator) as weir:
        large = LargeWeir(**vars(weir))
        yield large
