from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI

from app.core.db import Database
from tests.fixtures.emptying import empty
from tests.fixtures.weir import RunningWeir
from tests.ledger.conftest import open_database


@pytest.fixture
async def db(weir: RunningWeir) -> AsyncIterator[Database]:
    """A database with an empty audit log, reached as Weir reaches it."""
    db = open_database(weir.settings)
    async with db.hot_connection() as connection:  # the keys of the test were made after the log was emptied
        await empty(connection)
    yield db
    await db.close()


@pytest.fixture
async def admin(weir: RunningWeir) -> AsyncIterator[AsyncOpenAI]:
    """The SDK with an admin key; not all events are in its list."""
    async with weir.openai(admin_api_key=weir.admin_key) as client:
        yield client
