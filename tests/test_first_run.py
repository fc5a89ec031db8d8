"""What a database needs before it can serve is there after the first start, and once, however many starts there are."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from app.core import schema
from app.core.db import Database, DatabaseUnavailable
from app.errors import Unauthenticated
from app.first_run import key_service, open_database, prepare
from app.keys import tokens
from app.projects.service import DEFAULT_PROJECT_ID
from app.settings import Settings, SettingsError


@pytest.fixture
async def db(empty_settings: Settings) -> AsyncIterator[Database]:
    db = open_database(empty_settings)
    yield db
    await db.close()


def with_keys(settings: Settings, *, admin: str | None = None, api: str | None = None) -> Settings:
    return settings.model_copy(
        update={
            "bootstrap_admin_key": None if admin is None else SecretStr(admin),
            "bootstrap_api_key": None if api is None else SecretStr(api),
        }
    )


async def count(db: Database, table: str) -> int:
    async with db.hot_connection() as connection:
        number: int = await connection.fetchval(f"SELECT count(*) FROM {table}")
    return number


async def test_an_empty_database_gets_schema_prices_a_project_and_two_keys(
    empty_settings: Settings, db: Database
) -> None:
    with capture_logs() as lines:
        first = await prepare(empty_settings, migrate=True)

    assert first is not None
    keys = key_service(db, empty_settings)
    assert (await keys.authenticate(first.admin.value)).kind == "admin"
    assert (await keys.authenticate(first.api.value)).project_id == DEFAULT_PROJECT_ID
    assert await schema.is_current(db)
    assert await count(db, "prices") > 0
    assert lines == []


async def test_what_a_start_adds_to_a_database_in_use_is_said(empty_settings: Settings, db: Database) -> None:
    await schema.migrate(db)

    with capture_logs() as lines:
        first = await prepare(empty_settings, migrate=False)

    assert first is not None
    assert lines == [{"event": "prices_added", "count": await count(db, "prices"), "log_level": "info"}]


async def test_a_second_start_changes_nothing_and_shows_no_key(empty_settings: Settings, db: Database) -> None:
    await prepare(empty_settings, migrate=True)
    before = [await count(db, table) for table in ("prices", "projects", "api_keys")]

    with capture_logs() as lines:
        assert await prepare(with_keys(empty_settings, admin="a" * 32, api="b" * 32), migrate=True) is None

    assert [await count(db, table) for table in ("prices", "projects", "api_keys")] == before
    assert lines == []


async def test_several_processes_that_start_at_once_make_one_pair_of_keys(
    empty_settings: Settings, db: Database
) -> None:
    await schema.migrate(db)

    made = await asyncio.gather(*(prepare(empty_settings, migrate=False) for _ in range(4)))

    assert len([pair for pair in made if pair is not None]) == 1
    assert await count(db, "api_keys") == 2
    assert await count(db, "projects") == 1


async def test_a_key_of_any_form_can_be_set_for_automation(empty_settings: Settings, db: Database) -> None:
    for key in (
        "a" * 32,
        "~!@#$%^&*()_+{}|:<>?-=[];',./`0123",
        "sk-proj-0123456789abcdefghijklmnop",
        "wk-0123456789abcdefghijklmnopqrstu",
        tokens.mint("api"),
        tokens.mint("admin"),
        "k" * 512,
    ):
        settings = with_keys(empty_settings, admin="the-admin-key-that-was-set-for-automation", api=key)

        first = await prepare(settings, migrate=True)

        assert first is not None
        assert first.api.value == key
        keys = key_service(db, settings)
        assert (await keys.authenticate(key)).kind == "api"
        assert (await keys.authenticate(first.admin.value)).kind == "admin"
        async with db.hot_connection() as connection:
            await connection.execute("DELETE FROM api_keys")


async def test_one_key_can_be_set_and_the_other_one_minted(empty_settings: Settings, db: Database) -> None:
    first = await prepare(with_keys(empty_settings, admin="a" * 40), migrate=True)

    assert first is not None
    assert first.admin.value == "a" * 40
    assert first.api.value.startswith("wk-")


@pytest.mark.parametrize(
    ("admin", "api", "reason"),
    [
        (None, "k" * 513, "WEIR_BOOTSTRAP_API_KEY: must have 512 characters or less"),
        ("wa-" + "0" * 61, None, "WEIR_BOOTSTRAP_ADMIN_KEY: .*its last characters are a checksum"),
        ("a" * 32, "a" * 32, "WEIR_BOOTSTRAP_API_KEY: must be another key than WEIR_BOOTSTRAP_ADMIN_KEY"),
    ],
)
async def test_a_key_that_could_never_work_stops_the_start_with_that_reason_and_is_not_shown(
    empty_settings: Settings, db: Database, admin: str | None, api: str | None, reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        await prepare(with_keys(empty_settings, admin=admin, api=api), migrate=True)

    assert (admin or api or "") not in str(caught.value)
    assert await schema.current_revision(db) is None


async def test_without_a_database_it_says_so(empty_settings: Settings) -> None:
    away = empty_settings.model_copy(update={"database_url": SecretStr("postgresql://weir@127.0.0.1:1/weir")})

    with pytest.raises(DatabaseUnavailable):
        await prepare(away, migrate=True)


async def test_a_key_of_another_pepper_is_not_accepted(empty_settings: Settings, db: Database) -> None:
    first = await prepare(empty_settings, migrate=True)
    assert first is not None
    other = empty_settings.keys.model_copy(update={"pepper": SecretStr("another pepper" * 4)})

    with pytest.raises(Unauthenticated):
        await key_service(db, empty_settings.model_copy(update={"keys": other})).authenticate(first.api.value)
