"""When a key was used last is written in the background, many keys at once; a call waits for nothing of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from app.core.db import Database
from app.first_run import open_database
from app.keys.record import MintedKey
from app.keys.service import KeyService
from app.keys.use_service import KeyUseService
from app.projects.service import DEFAULT_PROJECT_ID, ProjectService
from app.setting_groups import Keys as KeysSettings
from app.settings import Settings
from tests.fixtures.own_servers import OwnServer
from tests.fixtures.waiting import until

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


@pytest.fixture
async def db(own_settings: Settings) -> AsyncIterator[Database]:
    db = open_database(own_settings)
    yield db
    await db.close()


@pytest.fixture
def keys(db: Database) -> KeyService:
    settings = KeysSettings(pepper=SecretStr("the-pepper-of-these-tests-is-long-enough"))
    return KeyService(db, ProjectService(db), settings, lambda: NOW)


def uses(db: Database, keys: KeyService) -> KeyUseService:
    return KeyUseService(db, keys, 0.01, lambda: LATER)


async def make(keys: KeyService) -> MintedKey:
    return await keys.create("api", "a test's", project_id=DEFAULT_PROJECT_ID)


async def last_used(db: Database, *made: MintedKey) -> list[datetime | None]:
    query = "SELECT last_used_at FROM unnest($1::text[]) WITH ORDINALITY w (id, n) JOIN api_keys USING (id) ORDER BY n"
    async with db.hot_connection() as connection:
        return [row[0] for row in await connection.fetch(query, [key.id for key in made])]


async def test_use_is_written_for_the_keys_that_were_used_and_no_others(db: Database, keys: KeyService) -> None:
    used, unused = await make(keys), await make(keys)
    for _ in range(3):
        await keys.authenticate(used.value)
    assert await last_used(db, used, unused) == [None, None]

    await uses(db, keys).write()

    assert await last_used(db, used, unused) == [LATER, None]
    assert keys.take_used() == set()
    await uses(db, keys).write()  # nothing to do


async def test_it_is_written_now_and_then(db: Database, keys: KeyService) -> None:
    used = await make(keys)
    writing = asyncio.create_task(uses(db, keys).keep_written())
    await keys.authenticate(used.value)

    async def is_written() -> bool:
        return await last_used(db, used) == [LATER]

    await until(is_written)
    writing.cancel()


async def test_what_could_not_be_written_is_written_later(
    db: Database, keys: KeyService, own_postgres: OwnServer
) -> None:
    used = await make(keys)
    await keys.authenticate(used.value)
    own_postgres.kill()
    await uses(db, keys).write()
    own_postgres.start()

    await uses(db, keys).write()

    assert await last_used(db, used) == [LATER]


async def test_a_row_that_somebody_else_is_writing_is_left_to_them(db: Database, keys: KeyService) -> None:
    used, other = await make(keys), await make(keys)
    for key in (used, other):
        await keys.authenticate(key.value)
    async with db.hot_connection() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM api_keys WHERE id = $1 FOR UPDATE", other.id)
        await uses(db, keys).write()
    assert await last_used(db, used, other) == [LATER, None]


async def test_what_can_never_be_written_ends_nothing(db: Database, keys: KeyService) -> None:
    keys.put_back_used({"an id that PostgreSQL cannot hold: \0"})
    with capture_logs() as lines:
        await uses(db, keys).write()
    assert [line["event"] for line in lines] == ["key_use_not_written"]
    assert keys.take_used() == set()
