"""The pepper can be changed: keys under an older one go on working, and come under the new one when they are used."""

import pytest
from pydantic import SecretStr

from app.core.clock import utc_now
from app.core.db import Database
from app.errors import Unauthenticated
from app.keys import tokens
from app.keys.admin_service import KeyAdminService, KeyEditor
from app.keys.record import KeyFilter
from app.keys.service import KeyService
from app.projects.service import DEFAULT_PROJECT_ID, ProjectService
from app.setting_groups import Keys as KeysSettings

OLDEST, OLD, NEW = (f"{name}-pepper-with-more-than-32-characters" for name in ("oldest", "old", "new"))


def service(db: Database, pepper: str, *previous: str) -> KeyService:
    settings = KeysSettings(pepper=SecretStr(pepper), previous_peppers=tuple(SecretStr(each) for each in previous))
    return KeyService(db, ProjectService(db), settings, utc_now)


async def digests(db: Database, key_id: str) -> tuple[bytes, bytes | None]:
    async with db.hot_connection() as connection:
        row = await connection.fetchrow("SELECT digest, previous_digest FROM api_keys WHERE id = $1", key_id)
    assert row is not None
    return tuple(row)


async def test_a_key_under_an_old_pepper_works_and_comes_under_the_new_one(db: Database) -> None:
    for before in (OLDEST, OLD, NEW):
        minted = await service(db, before).create("api", "a test's", project_id=DEFAULT_PROJECT_ID)

        for _ in range(2):
            assert (await service(db, NEW, OLD, OLDEST).authenticate(minted.value)).key_id == minted.id

        assert await digests(db, minted.id) == (tokens.digest(minted.value, NEW.encode()), None)
        assert (await service(db, NEW).authenticate(minted.value)).key_id == minted.id
        with pytest.raises(Unauthenticated):
            await service(db, OLD).authenticate(minted.value)


async def test_replicas_may_change_the_pepper_one_after_the_other(db: Database) -> None:
    minted = await service(db, OLD).create("api", "a test's", project_id=DEFAULT_PROJECT_ID)
    first, last = service(db, NEW, OLD), service(db, OLD, NEW)
    for replica in (first, last, first, last):
        replica.forget("")
        assert (await replica.authenticate(minted.value)).key_id == minted.id


async def test_the_value_before_a_rotation_comes_under_the_new_pepper_too(db: Database) -> None:
    before = service(db, OLD)
    minted = await before.create("api", "a test's", project_id=DEFAULT_PROJECT_ID)
    admin = KeyAdminService(db, before, ProjectService(db), utc_now)
    key, value = await admin.rotate(minted.id, KeyFilter(), 60, KeyEditor())

    keys = service(db, NEW, OLD)
    caller = await keys.authenticate(minted.value)
    assert (caller.key_id, caller.expires_at) == (minted.id, key.previous_expires_at)
    assert (await keys.authenticate(value)).expires_at is None

    wanted = (tokens.digest(value, NEW.encode()), tokens.digest(minted.value, NEW.encode()))
    assert await digests(db, minted.id) == wanted


async def test_a_revoked_key_stays_revoked_under_every_pepper(db: Database) -> None:
    keys = service(db, OLD)
    minted = await keys.create("api", "a test's", project_id=DEFAULT_PROJECT_ID)
    await keys.revoke(minted.id)
    with pytest.raises(Unauthenticated):
        await service(db, NEW, OLD).authenticate(minted.value)
    assert await digests(db, minted.id) == (tokens.digest(minted.value, OLD.encode()), None)
