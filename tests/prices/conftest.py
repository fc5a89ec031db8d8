from collections.abc import AsyncIterator

import pytest

from app.core.db import Database
from app.settings import Settings
from tests.ledger.conftest import open_database


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    """A database that has no prices of tests any more afterwards."""
    db = open_database(settings)
    yield db
    async with db.hot_connection() as connection:
        await connection.execute("DELETE FROM prices WHERE model LIKE 'test-%' OR source = 'operator'")
    await db.close()
