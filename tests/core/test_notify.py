"""What changed is told to every process at once, and after a cut connection everything may have changed."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from structlog.testing import capture_logs

from app.core.db import Database
from app.core.health import Dependency
from app.core.notify import Notices
from app.setting_groups import Database as DatabaseSettings
from app.settings import Settings
from tests.fixtures.own_servers import OwnServer
from tests.fixtures.waiting import until


class Heard:
    """A listener that can be waited for."""

    def __init__(self) -> None:
        self._payloads: asyncio.Queue[str] = asyncio.Queue()

    def __call__(self, payload: str) -> None:
        self._payloads.put_nowait(payload)

    async def next(self) -> str:
        async with asyncio.timeout(10):
            return await self._payloads.get()


class CountingDatabase(Database):
    """Counts the connections that were begun."""

    begun = 0

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        self.begun += 1
        return await super().connect()

    async def has_begun(self, count: int) -> None:
        """Return when *count* connections have been begun."""
        await until(lambda: self.begun >= count)


@pytest.fixture
async def db(own_settings: Settings) -> AsyncIterator[CountingDatabase]:
    assert own_settings.database_url is not None
    settings = DatabaseSettings(connect_timeout_seconds=2.5)
    db = CountingDatabase(own_settings.database_url.get_secret_value(), settings, Dependency("database"))
    yield db
    await db.close()


@pytest.fixture
async def notices(db: Database) -> AsyncIterator[Notices]:
    notices = Notices(db)
    yield notices
    await notices.close()


async def notify(db: Database, channel: str, payload: str) -> None:
    async with db.hot_connection() as connection:
        await connection.execute("SELECT pg_notify($1, $2)", channel, payload)


async def test_a_listener_hears_the_notices_of_its_channel_only(db: Database, notices: Notices) -> None:
    keys, prices = Heard(), Heard()
    notices.subscribe("keys", keys)
    notices.subscribe("prices", prices)
    notices.start()
    assert await keys.next() == ""
    assert await prices.next() == ""

    await notify(db, "prices", "gpt")
    await notify(db, "keys", "key_1")

    assert await keys.next() == "key_1"
    assert await prices.next() == "gpt"


async def test_every_listener_of_a_channel_hears_even_when_another_one_fails(db: Database, notices: Notices) -> None:
    def fails(payload: str) -> None:
        raise ValueError(payload)

    heard = Heard()
    notices.subscribe("keys", fails)
    notices.subscribe("keys", heard)
    with capture_logs() as lines:
        notices.start()
        assert await heard.next() == ""
        await notify(db, "keys", "key_1")
        assert await heard.next() == "key_1"

    assert [line["reason"] for line in lines] == ["ValueError: ", "ValueError: key_1"]


async def test_after_its_connection_was_cut_a_listener_is_told_that_notices_may_be_lost(
    db: Database, notices: Notices
) -> None:
    heard = Heard()
    notices.subscribe("keys", heard)
    notices.start()
    assert await heard.next() == ""

    async with db.hot_connection() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'weir' AND pid <> $1",
            connection.get_server_pid(),
        )

    assert await heard.next() == ""
    await notify(db, "keys", "key_1")
    assert await heard.next() == "key_1"


async def test_a_database_that_was_away_is_listened_to_again_when_it_is_back(
    db: CountingDatabase, notices: Notices, own_postgres: OwnServer
) -> None:
    heard = Heard()
    notices.subscribe("keys", heard)
    own_postgres.kill()
    notices.start()
    await db.has_begun(2)
    own_postgres.start()

    assert await heard.next() == ""
    await notify(db, "keys", "key_1")
    assert await heard.next() == "key_1"


@pytest.mark.parametrize("when", ["connecting", "listening"])
async def test_a_connection_that_hangs_is_given_up_and_made_anew(
    db: CountingDatabase, notices: Notices, own_postgres: OwnServer, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr("app.core.notify._KEEP_ALIVE_SECONDS", 0.2)
    heard = Heard()
    notices.subscribe("keys", heard)
    if when == "listening":
        notices.start()
        assert await heard.next() == ""
        own_postgres.freeze()
    else:
        own_postgres.freeze()
        notices.start()

    await db.has_begun(2)
    own_postgres.thaw()

    assert await heard.next() == ""
    await notify(db, "keys", "key_1")
    assert await heard.next() == "key_1"


async def test_a_quiet_connection_is_asked_now_and_then_and_stays(
    db: CountingDatabase, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.core.notify._KEEP_ALIVE_SECONDS", 1)
    heard = Heard()
    notices.subscribe("keys", heard)
    notices.start()
    assert await heard.next() == ""

    async def was_asked() -> bool:
        async with db.hot_connection() as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT 1' AND pid <> pg_backend_pid()"
            return bool(await connection.fetchval(query))

    await until(was_asked)
    await notify(db, "keys", "key_2")
    assert await heard.next() == "key_2"


async def test_closing_ends_the_listening_at_once_and_twice_is_harmless(db: Database) -> None:
    notices = Notices(db)
    await notices.close()
    notices.start()
    async with asyncio.timeout(5):
        await notices.close()
        await notices.close()


async def test_whatever_connecting_fails_with_it_is_tried_again(
    db: Database, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = db.connect

    async def fails() -> "asyncpg.Connection[asyncpg.Record]":
        monkeypatch.setattr(db, "connect", connect)
        raise asyncpg.InternalClientError("got result for unknown protocol state 3")

    monkeypatch.setattr(db, "connect", fails)
    heard = Heard()
    notices.subscribe("keys", heard)
    notices.start()

    assert await heard.next() == ""
    await notify(db, "keys", "key_1")
    assert await heard.next() == "key_1"
