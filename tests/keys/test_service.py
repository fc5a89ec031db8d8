"""A known key costs no I/O, a revoked one stops at once everywhere, and only digests are stored."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from app.core.db import Database, DatabaseUnavailable
from app.core.notify import Notices
from app.errors import NotFound, Unauthenticated
from app.first_run import open_database
from app.keys import tokens
from app.keys.record import MintedKey
from app.keys.service import KEYS_CHANGED, KeyService
from app.projects.service import DEFAULT_PROJECT_ID, ProjectService
from app.setting_groups import Keys as KeysSettings
from app.settings import Settings
from tests.fixtures.own_servers import OwnServer
from tests.fixtures.waiting import until
from tests.keys.watched_database import WatchedDatabase

PEPPER = "the-pepper-of-these-tests-is-long-enough"
OTHER_PEPPER = "another-pepper-that-is-long-enough-too"
UNKNOWN = "wk-" + "0" * 55
UNKNOWN += tokens._checksum(UNKNOWN)
START = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(db: Database, clock: Clock) -> KeyService:
    return service(db, clock)


def service(db: Database, clock: Clock, pepper: str = PEPPER, **changes: Any) -> KeyService:
    settings = KeysSettings(pepper=SecretStr(pepper), **changes)
    return KeyService(db, ProjectService(db), settings, clock)


async def make(keys: KeyService, **options: Any) -> MintedKey:
    return await keys.create("api", "a test's", project_id=DEFAULT_PROJECT_ID, **options)


async def is_accepted(keys: KeyService, token: str | None) -> bool:
    try:
        await keys.authenticate(token)
    except Unauthenticated:
        return False
    return True


def believed(keys: KeyService) -> list[str]:
    """Return the ids of the keys that would be believed without looking them up."""
    return [known.caller.key_id for known in keys._known._known.values() if known.until_seconds > 0]


async def test_a_key_is_its_caller(keys: KeyService) -> None:
    api, admin = await make(keys), await keys.create("admin", "an operator's")

    caller = await keys.authenticate(api.value)
    operator = await keys.authenticate(admin.value)

    assert (caller.key_id, caller.kind, caller.project_id) == (api.id, "api", DEFAULT_PROJECT_ID)
    assert (operator.key_id, operator.kind, operator.project_id) == (admin.id, "admin", None)


async def test_only_an_api_key_is_one(keys: KeyService) -> None:
    api, admin = await make(keys), await keys.create("admin", "an operator's")
    assert [await keys.is_api_key(key_id) for key_id in (api.id, admin.id, "key_nobody")] == [True, False, False]


@pytest.mark.parametrize("token", [None, "", "x", "a" * 513, "a" * 100_000, "kéy", "a\0b", UNKNOWN])
async def test_what_is_no_key_or_unknown_is_refused(keys: KeyService, token: str | None) -> None:
    assert not await is_accepted(keys, token)


async def test_a_key_is_unknown_under_another_pepper(keys: KeyService, db: Database, clock: Clock) -> None:
    minted = await make(keys)

    assert not await is_accepted(service(db, clock, OTHER_PEPPER), minted.value)


async def test_a_key_expires_at_its_moment_whether_it_is_remembered_or_not(
    keys: KeyService, db: Database, clock: Clock
) -> None:
    minted = await make(keys, expires_in=timedelta(hours=1))
    clock.now = START + timedelta(minutes=59)
    assert await is_accepted(keys, minted.value)

    clock.now = START + timedelta(hours=1)

    assert not await is_accepted(keys, minted.value)
    assert not await is_accepted(service(db, clock), minted.value)


async def test_a_known_key_needs_no_database_and_then_it_is_unavailable_and_not_refused(
    own_settings: Settings, own_postgres: OwnServer, clock: Clock
) -> None:
    db = open_database(own_settings)
    keys = service(db, clock)
    minted = await make(keys)
    caller = await keys.authenticate(minted.value)

    own_postgres.kill()

    for _ in range(3):
        assert await keys.authenticate(minted.value) is caller
    for digest, known in keys._known._known.items():
        keys._known._known[digest] = known._replace(until_seconds=0.0)  # cache_seconds have passed
    with pytest.raises(DatabaseUnavailable):
        await keys.authenticate(minted.value)
    with pytest.raises(DatabaseUnavailable):
        await keys.authenticate(tokens.mint("api"))
    assert not await is_accepted(keys, "wk-" + "a" * 61)  # a wrong checksum needs no database either

    own_postgres.start()
    assert await keys.authenticate(minted.value) == caller
    await db.close()


async def test_a_revoked_key_stops_at_once(keys: KeyService, clock: Clock) -> None:
    minted, other = await make(keys), await make(keys)
    assert await is_accepted(keys, minted.value)
    assert await is_accepted(keys, other.value)

    assert await keys.revoke(minted.id) == START

    assert not await is_accepted(keys, minted.value)
    assert await is_accepted(keys, other.value)


async def test_revoking_twice_keeps_the_first_moment(keys: KeyService, clock: Clock) -> None:
    minted = await make(keys)
    await keys.revoke(minted.id)
    clock.now += timedelta(days=1)
    await keys.revoke(minted.id)

    [row] = [row for row in await keys.list_all() if row.id == minted.id]
    assert row.revoked_at == START


async def test_a_key_that_is_not_there_cannot_be_revoked(keys: KeyService) -> None:
    with pytest.raises(NotFound, match="There is no key 'key_nobody'"):
        await keys.revoke("key_nobody")


async def test_a_key_revoked_by_another_process_stops_here_by_its_notice(
    keys: KeyService, db: Database, settings: Settings, clock: Clock
) -> None:
    notices = Notices(db)
    notices.subscribe(KEYS_CHANGED, keys.forget)
    notices.start()
    elsewhere_db = open_database(settings)
    minted, other = await make(keys), await make(keys)
    await until(lambda: keys._known.forgotten == 1)  # it listens
    assert await is_accepted(keys, minted.value)
    assert await is_accepted(keys, other.value)

    await service(elsewhere_db, clock).revoke(minted.id)

    await until(lambda: keys._known.forgotten == 2)
    assert believed(keys) == [other.id]
    assert not await is_accepted(keys, minted.value)
    await notices.close()
    await elsewhere_db.close()


async def test_a_lost_notice_heals_when_the_memory_is_old(db: Database, clock: Clock) -> None:
    deaf, deaf_and_forgetful = service(db, clock, cache_seconds=3_600), service(db, clock, cache_seconds=0.2)
    minted = await make(deaf)
    assert await is_accepted(deaf, minted.value)
    assert await is_accepted(deaf_and_forgetful, minted.value)

    await service(db, clock).revoke(minted.id)

    async def is_refused() -> bool:
        return not await is_accepted(deaf_and_forgetful, minted.value)

    await until(is_refused)
    assert await is_accepted(deaf, minted.value)  # it has not heard of it


async def test_when_notices_may_be_lost_everything_is_forgotten(keys: KeyService) -> None:
    minted = await make(keys)
    assert await is_accepted(keys, minted.value)

    keys.forget("")

    assert believed(keys) == []
    assert await is_accepted(keys, minted.value)
    assert believed(keys) == [minted.id]


async def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_remembered(
    db: Database, watched: WatchedDatabase, clock: Clock
) -> None:
    keys = service(watched, clock)
    minted = await make(keys)

    async def revoke() -> None:
        await service(db, clock).revoke(minted.id)
        keys.forget(minted.id)  # the notice

    watched.interruption = revoke
    assert await is_accepted(keys, minted.value)  # it was read before

    assert not await is_accepted(keys, minted.value)


async def test_no_more_keys_are_remembered_than_allowed_the_oldest_go_first(db: Database, clock: Clock) -> None:
    keys = service(db, clock, cache_entries_max=2)
    minted = [await make(keys) for _ in range(3)]
    for key in minted:
        assert await is_accepted(keys, key.value)

    assert believed(keys) == [minted[1].id, minted[2].id]
    assert await is_accepted(keys, minted[0].value)


async def test_only_digests_are_stored(keys: KeyService, db: Database) -> None:
    minted = await make(keys)
    own = await make(keys)
    await keys.authenticate(minted.value)

    async with db.hot_connection() as connection:
        columns = await connection.fetch(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = 'public' AND data_type IN ('text', 'bytea', 'jsonb', 'ARRAY', 'character varying')"
        )
        assert ("api_keys", "digest") in {tuple(column) for column in columns}
        for table, column in columns:
            for secret in (minted.value, own.value, own.value[15:-6]):
                found = await connection.fetchval(
                    f'SELECT count(*) FROM "{table}" WHERE position($1 IN "{column}"::text) > 0 '
                    f'OR position($2 IN "{column}"::text) > 0',
                    secret,
                    secret.encode().hex(),
                )
                assert found == 0, (table, column)


async def test_a_list_shows_keys_without_their_secret_oldest_first(
    keys: KeyService, clock: Clock, db: Database
) -> None:
    first = await make(keys)
    clock.now += timedelta(seconds=1)
    second = await keys.create("admin", "an operator's", expires_in=timedelta(days=1))

    rows = [row for row in await keys.list_all() if row.id in (first.id, second.id)]

    assert [row.id for row in rows] == [first.id, second.id]
    assert rows[1].expires_at == clock.now + timedelta(days=1)
    assert rows[0].redacted == tokens.redact(first.value)
    assert first.value not in str(rows)


async def test_the_first_keys_are_made_once_however_many_try_at_once(empty_keys: KeyService) -> None:
    made = await asyncio.gather(*(empty_keys.create_first(DEFAULT_PROJECT_ID, admin=None, api=None) for _ in range(5)))

    [pair] = [pair for pair in made if pair is not None]
    assert [key.kind for key in pair] == ["admin", "api"]
    assert {row.id for row in await empty_keys.list_all()} == {key.id for key in pair}


async def test_first_keys_are_not_made_anew_when_all_were_revoked(empty_keys: KeyService) -> None:
    pair = await empty_keys.create_first(DEFAULT_PROJECT_ID, admin=None, api=None)
    assert pair is not None
    for key in pair:
        await empty_keys.revoke(key.id)

    assert await empty_keys.create_first(DEFAULT_PROJECT_ID, admin=None, api=None) is None


@pytest.fixture
async def empty_keys(own_settings: Settings, clock: Clock) -> AsyncIterator[KeyService]:
    """Yield the keys of a database that has none."""
    db = open_database(own_settings)
    async with db.hot_connection() as connection:
        await connection.execute("DELETE FROM api_keys")
    yield service(db, clock)
    await db.close()
