"""Keys in use are looked up again before a call has to wait for that: many together, and never against a notice."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from app.core.clock import monotonic_seconds, utc_now
from app.core.db import Database, DatabaseUnavailable
from app.errors import Unauthenticated
from app.keys.caller import Caller
from app.keys.known import KnownCallers
from app.keys.record import MintedKey, NewKey
from app.keys.service import KeyService
from app.projects.service import DEFAULT_PROJECT_ID, ProjectService
from app.setting_groups import Keys as KeysSettings
from app.settings import Settings
from tests.fixtures.own_servers import OwnServer
from tests.fixtures.waiting import until
from tests.keys.watched_database import WatchedDatabase

PEPPER, OTHER_PEPPER = (f"{name}-pepper-with-more-than-32-characters" for name in ("one", "other"))
CACHE_SECONDS = 3_600


@pytest.fixture
def keys(watched: WatchedDatabase) -> KeyService:
    return service(watched)


def service(db: Database, pepper: str = PEPPER, *previous: str) -> KeyService:
    settings = KeysSettings(
        pepper=SecretStr(pepper),
        previous_peppers=tuple(SecretStr(each) for each in previous),
        cache_seconds=CACHE_SECONDS,
    )
    return KeyService(db, ProjectService(db), settings, utc_now)


async def make(keys: KeyService, count: int) -> list[MintedKey]:
    async with keys._db.transaction() as tx:
        return [await keys.mint(tx, NewKey("api", "a test's", DEFAULT_PROJECT_ID)) for _ in range(count)]


async def is_accepted(keys: KeyService, *minted: MintedKey) -> bool:
    answers = await asyncio.gather(*(keys.authenticate(each.value) for each in minted), return_exceptions=True)
    assert all(isinstance(answer, Caller | Unauthenticated) for answer in answers)
    return all(isinstance(answer, Caller) for answer in answers)


def age(keys: KeyService, left_seconds: float) -> None:
    """Let so much time pass that every key is believed for *left_seconds* only."""
    for digest, known in keys._known._known.items():
        keys._known._known[digest] = known._replace(until_seconds=monotonic_seconds() + left_seconds)


def left_seconds(keys: KeyService) -> list[float]:
    """Return for how long each key is believed still."""
    return [known.until_seconds - monotonic_seconds() for known in keys._known._known.values()]


async def in_use(keys: KeyService, count: int = 1) -> list[MintedKey]:
    """Return new keys that are used, and soon not believed any more."""
    minted = await make(keys, count)
    assert await is_accepted(keys, *minted)
    age(keys, CACHE_SECONDS / 4)
    assert await is_accepted(keys, *minted)
    return minted


async def test_a_key_in_use_is_renewed_and_no_call_waits_for_it(keys: KeyService, watched: WatchedDatabase) -> None:
    minted = await in_use(keys)
    assert len(watched.statements) == 1

    await keys.renew()

    assert len(watched.statements) == 2
    [left] = left_seconds(keys)
    assert left > CACHE_SECONDS / 2
    assert await is_accepted(keys, *minted)
    assert len(watched.statements) == 2


async def test_a_key_that_was_not_used_since_is_not_renewed(keys: KeyService, watched: WatchedDatabase) -> None:
    unused = await make(keys, 1)
    assert await is_accepted(keys, *unused)
    await in_use(keys)
    await keys.renew()
    watched.statements.clear()
    age(keys, CACHE_SECONDS / 4)

    await keys.renew()

    assert watched.statements == []
    assert max(left_seconds(keys)) < CACHE_SECONDS / 2


async def test_a_key_that_is_believed_for_long_yet_is_not_renewed(keys: KeyService, watched: WatchedDatabase) -> None:
    minted = await in_use(keys)
    age(keys, CACHE_SECONDS / 2)
    watched.statements.clear()

    await keys.renew()
    assert watched.statements == []

    age(keys, CACHE_SECONDS / 4)  # later, and without another use
    await keys.renew()
    assert len(watched.statements) == 1
    assert await is_accepted(keys, *minted)


async def test_keys_in_use_are_renewed_in_the_background(keys: KeyService) -> None:
    await in_use(keys)
    renewing = asyncio.create_task(keys.keep_renewed())

    await until(lambda: left_seconds(keys)[0] > CACHE_SECONDS / 2)

    renewing.cancel()


async def test_many_keys_take_few_statements(keys: KeyService, watched: WatchedDatabase) -> None:
    minted = await in_use(keys, 250)
    age(keys, CACHE_SECONDS / 4)
    watched.statements.clear()

    await keys.renew()

    assert len(watched.statements) == 3
    assert min(left_seconds(keys)) > CACHE_SECONDS / 2
    keys.forget("")
    assert await is_accepted(keys, *minted)
    assert len(watched.statements) == 6  # nor do calls of many keys that were forgotten


@pytest.mark.parametrize("hears_of_it", [True, False])
async def test_a_key_that_is_revoked_before_it_is_renewed_is_not_known_any_more(
    keys: KeyService, db: Database, hears_of_it: bool
) -> None:
    revoked, other = await in_use(keys, 2)
    await service(db).revoke(revoked.id)
    if hears_of_it:
        keys.forget(revoked.id)

    await keys.renew()

    assert [known.caller.key_id for known in keys._known._known.values()] == [other.id]
    assert not await is_accepted(keys, revoked)


async def test_a_key_that_is_revoked_while_it_is_renewed_stays_refused(
    keys: KeyService, watched: WatchedDatabase, db: Database
) -> None:
    revoked, other = await in_use(keys, 2)

    async def revoke() -> None:
        await service(db).revoke(revoked.id)
        keys.forget(revoked.id)  # the notice

    watched.interruption = revoke
    await keys.renew()

    assert not await is_accepted(keys, revoked)
    [left] = left_seconds(keys)
    assert left < CACHE_SECONDS / 2  # what was read with it may be wrong too
    assert await is_accepted(keys, other)
    await keys.renew()
    [left] = left_seconds(keys)
    assert left > CACHE_SECONDS / 2


async def test_calls_that_come_at_once_with_a_key_that_is_too_old_share_a_lookup(
    keys: KeyService, watched: WatchedDatabase
) -> None:
    minted = await in_use(keys, 3)
    age(keys, 0)
    watched.statements.clear()

    assert await is_accepted(keys, *minted * 50)

    assert len(watched.statements) == 1


async def test_a_call_that_comes_while_its_key_is_looked_up_asks_nothing_more(
    keys: KeyService, watched: WatchedDatabase
) -> None:
    minted = await in_use(keys)
    age(keys, 0)
    watched.statements.clear()
    late: list[asyncio.Task[bool]] = []

    async def come_late() -> None:
        late.append(asyncio.create_task(is_accepted(keys, *minted)))
        await until(lambda: keys._lookups.pending == 2)

    watched.interruption = come_late
    assert await is_accepted(keys, *minted)

    assert await late[0]
    assert len(watched.statements) == 1


async def test_a_call_that_comes_after_a_notice_does_not_share_what_was_read_before_it(
    keys: KeyService, watched: WatchedDatabase, db: Database
) -> None:
    minted = await in_use(keys)
    age(keys, 0)
    late: list[asyncio.Task[bool]] = []

    async def revoke() -> None:
        await service(db).revoke(minted[0].id)
        keys.forget(minted[0].id)  # the notice
        late.append(asyncio.create_task(is_accepted(keys, *minted)))
        await until(lambda: keys._lookups.pending == 2)

    watched.interruption = revoke
    assert await is_accepted(keys, *minted)  # it came, and was read, before

    assert not await late[0]


async def test_while_the_database_is_away_keys_are_believed_as_long_as_ever_and_one_line_says_so(
    own_settings: Settings, own_postgres: OwnServer
) -> None:
    db = WatchedDatabase(own_settings)
    keys = service(db)
    minted = await in_use(keys)
    own_postgres.kill()

    with capture_logs() as lines:
        renewing = asyncio.create_task(keys.keep_renewed())
        await until(lambda: [line["event"] for line in lines].count("keys_not_renewed") == 1)
        renewing.cancel()

    assert await is_accepted(keys, *minted)
    with pytest.raises(DatabaseUnavailable):
        await keys.renew()
    [left] = left_seconds(keys)
    assert left < CACHE_SECONDS / 2
    age(keys, 0)
    with pytest.raises(DatabaseUnavailable):
        await keys.authenticate(minted[0].value)
    own_postgres.start()
    assert await is_accepted(keys, *minted)
    await db.close()


async def test_a_key_that_another_replica_puts_under_its_own_pepper_is_renewed(
    watched: WatchedDatabase, db: Database
) -> None:
    keys, replica = service(watched, PEPPER, OTHER_PEPPER), service(db, OTHER_PEPPER, PEPPER)
    minted = await in_use(keys)
    assert await is_accepted(replica, *minted)

    await keys.renew()

    [left] = left_seconds(keys)
    assert left > CACHE_SECONDS / 2
    assert await is_accepted(service(db, PEPPER), *minted)


async def test_keys_that_are_looked_up_together_come_under_the_new_pepper_together(db: Database) -> None:
    minted = await make(service(db, OTHER_PEPPER), 3)
    assert await is_accepted(service(db, PEPPER, OTHER_PEPPER), *minted)
    assert await is_accepted(service(db, PEPPER), *minted)


def caller(name: str) -> Caller:
    return Caller(key_id=name, kind="api", project_id="proj_default", expires_at=None)


def known(callers: KnownCallers, names: Sequence[str], now: float) -> list[Any]:
    return [name for name in names if callers.believed(name.encode(), now) is not None]


def test_of_more_callers_than_may_be_remembered_the_oldest_go_and_are_never_due() -> None:
    callers = KnownCallers(2)
    for name in "ab":
        callers.put((name.encode(),), caller(name), 10.0)
    assert known(callers, "abc", 9.9) == ["a", "b"]
    callers.put((b"a",), caller("a"), 20.0)  # the newest now, and not used

    callers.put((b"c",), caller("c"), 20.0)

    assert (callers.has(b"b"), callers.take_due(100.0)) == (False, [])
    assert known(callers, "abc", 19.9) == ["a", "c"]
    assert known(callers, "abc", 20.0) == []


def test_a_caller_is_due_once_for_each_time_they_were_used() -> None:
    callers = KnownCallers(2)
    callers.put((b"a", b"under an old pepper"), caller("a"), 10.0)
    assert callers.take_due(10.0) == []
    for _ in range(2):
        assert known(callers, "a", 5.0) == ["a"]
        assert callers.take_due(9.9) == []
        assert callers.take_due(10.0) == [(b"a", b"under an old pepper")]
        assert callers.take_due(10.0) == []
    assert known(callers, "a", 5.0) == ["a"]
    callers.drop((b"a",))
    assert (callers.has(b"a"), callers.take_due(10.0)) == (False, [])
