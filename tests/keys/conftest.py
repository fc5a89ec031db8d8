from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import AsyncOpenAI

from app.core.db import Database
from app.settings import Settings
from tests.keys.watched_database import WatchedDatabase
from tests.ledger.conftest import open_database


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    db = open_database(settings)
    yield db
    await db.close()


@pytest.fixture
async def watched(settings: Settings) -> AsyncIterator[WatchedDatabase]:
    db = WatchedDatabase(settings)
    yield db
    await db.close()


@pytest.fixture
def projects(admin: AsyncOpenAI) -> Any:
    return admin.admin.organization.projects
