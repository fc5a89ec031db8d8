"""Whose a stored object is: one owner, whoever asks, whatever happens to the database meanwhile."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.core.db import Database, DatabaseUnavailable
from app.core.health import Dependency
from app.gateway_settings import Gateway
from app.ownership import service
from app.ownership.owned import Owned
from app.ownership.service import OwnershipService
from app.ownership_errors import ObjectNotFound
from app.settings import Settings


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    assert settings.database_url is not None
    db = Database(settings.database_url.get_secret_value(), settings.database, Dependency("database"))
    async with db.hot_connection() as connection:
        await connection.execute("TRUNCATE owned_objects")
    yield db
    await db.close()


@pytest.fixture
def ownership(db: Database) -> OwnershipService:
    return OwnershipService(db, Gateway())


@pytest.fixture
def shared(db: Database) -> OwnershipService:
    return OwnershipService(db, Gateway(isolation="off"))


async def test_an_object_is_found_by_its_project_and_by_no_other(ownership: OwnershipService) -> None:
    await ownership.record("proj_a", "resp_1", "response", "openai")

    assert await ownership.find("proj_a", "resp_1") == Owned("openai", "response")
    with pytest.raises(ObjectNotFound) as refused:
        await ownership.find("proj_b", "resp_1")
    with pytest.raises(ObjectNotFound) as unknown:
        await ownership.find("proj_b", "resp_2")
    assert refused.value.envelope()["error"] == {
        "message": "Response with id 'resp_1' not found.",
        "type": "invalid_request_error",
        "param": None,
        "code": "object_not_found",
    }
    assert unknown.value.message == refused.value.message.replace("resp_1", "resp_2")


async def test_an_object_keeps_its_first_owner(ownership: OwnershipService) -> None:
    await ownership.record("proj_a", "file-1", "file", "openai")
    await ownership.record("proj_b", "file-1", "file", "openai")

    assert await ownership.owned("proj_a", ["file-1"]) == {"file-1"}
    assert await ownership.owned("proj_b", ["file-1"]) == set()


async def test_a_session_is_paid_for_by_its_own_project(ownership: OwnershipService) -> None:
    await ownership.record("proj_a", "cntr_1", "container", "openai")
    for paid in (set(), {"cntr_1"}):
        assert await ownership.claim_sessions("proj_a", "openai", ["cntr_1"]) == paid

    assert await ownership.claim_sessions("proj_a", "openai", ["cntr_1", "cntr_2", "not one"]) == {"cntr_1"}
    assert await ownership.claim_sessions("proj_a", "another", ["cntr_1"]) == set()
    for _ in range(2):  # it has the id of another's, and is paid for whenever it is met
        assert await ownership.claim_sessions("proj_b", "openai", ["cntr_1"]) == set()


async def test_a_session_that_somebody_else_is_writing_is_not_waited_for_for_ever(
    db: Database, ownership: OwnershipService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_PATIENCE_SECONDS", 0.05)
    async with db.hot_connection() as other, other.transaction():
        await other.execute("LOCK TABLE owned_objects")
        with pytest.raises(DatabaseUnavailable) as raised:
            await ownership.claim_sessions("proj_a", "openai", ["cntr_1"])
    assert raised.value.reason == "the sessions of containers could not be read in time"


async def test_two_upstreams_may_give_the_same_id_to_two_projects(ownership: OwnershipService) -> None:
    await ownership.record("proj_a", "file-1", "file", "one")
    await ownership.record("proj_b", "file-1", "file", "two")

    assert await ownership.find("proj_a", "file-1") == Owned("one", "file")
    assert await ownership.find("proj_b", "file-1") == Owned("two", "file")


async def test_what_is_recorded_at_once_shares_a_commit(ownership: OwnershipService, db: Database) -> None:
    ids = [f"msg_{number}" for number in range(300)]
    await asyncio.gather(*(ownership.record("proj_a", object_id, "item", "openai") for object_id in ids))

    assert await ownership.owned("proj_a", [*ids, "msg_other"]) == set(ids)
    async with db.hot_connection() as connection:
        assert await connection.fetchval("SELECT count(DISTINCT xmin::text) FROM owned_objects") <= 2


async def test_a_forgotten_object_is_unknown_and_only_its_owner_can_forget_it(ownership: OwnershipService) -> None:
    await ownership.record("proj_a", "vs_1", "vector_store", "openai")

    await ownership.forget("proj_b", "vs_1")
    assert await ownership.find("proj_a", "vs_1") is not None
    await ownership.forget("proj_a", "vs_1")
    with pytest.raises(ObjectNotFound, match="No vector store found with id 'vs_1'"):
        await ownership.find("proj_a", "vs_1")


@pytest.mark.parametrize("object_id", ["", "a b", "nul\x00", "umläut", "x" * 257, "line\nbreak"])
async def test_what_cannot_be_an_id_is_nobodys(ownership: OwnershipService, object_id: str) -> None:
    await ownership.record("proj_a", object_id, "file", "openai")
    await ownership.forget("proj_a", object_id)

    assert await ownership.owned("proj_a", [object_id]) == set()
    with pytest.raises(ObjectNotFound) as refused:
        await ownership.find("proj_a", object_id)
    assert len(refused.value.message) < 300
    assert refused.value.message.isprintable()


async def test_without_isolation_everybody_finds_everything_and_a_record_says_where(
    ownership: OwnershipService, shared: OwnershipService
) -> None:
    await ownership.record("proj_a", "file-1", "file", "one")
    await ownership.record("proj_b", "file-1", "file", "two")

    assert await shared.find("proj_a", "file-1") == Owned("one", "file")
    assert await shared.find("proj_b", "file-1") == Owned("two", "file")
    assert await shared.find("proj_c", "file-1") in (Owned("one", "file"), Owned("two", "file"))
    assert await shared.find("proj_c", "file-2") is None
    assert await shared.owned("proj_c", ["file-1", "file-2"]) == {"file-1", "file-2"}


async def test_responses_of_long_ago_are_forgotten_and_files_are_not(ownership: OwnershipService, db: Database) -> None:
    for object_id, kind in [("resp_old", "response"), ("resp_new", "response"), ("file-old", "file")]:
        await ownership.record("proj_a", object_id, kind, "openai")
    async with db.hot_connection() as connection:
        await connection.execute(
            "UPDATE owned_objects SET created_at = now() - interval '401 days' WHERE object_id LIKE '%old'"
        )

    assert await ownership.purge() == 1
    assert await ownership.owned("proj_a", ["resp_old", "resp_new", "file-old"]) == {"resp_new", "file-old"}


async def test_more_is_forgotten_than_one_statement_takes(
    ownership: OwnershipService, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ownership.service._PURGE_ROWS", 2)
    for number in range(5):
        await ownership.record("proj_a", f"resp_{number}", "response", "openai")
    async with db.hot_connection() as connection:
        await connection.execute("UPDATE owned_objects SET created_at = now() - interval '401 days'")

    assert await ownership.purge() == 5


async def test_an_error_nobody_foresaw_does_not_end_the_purges(
    ownership: OwnershipService, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = asyncio.Event()
    purged = asyncio.Event()

    async def purge() -> int:
        if failed.is_set():
            purged.set()
            return 0
        failed.set()
        raise ValueError("nobody foresaw this")

    monkeypatch.setattr("app.ownership.service._PURGE_SECONDS", 0.0)
    monkeypatch.setattr(ownership, "purge", purge)
    purging = asyncio.create_task(ownership.keep_purged())
    async with asyncio.timeout(10):
        await purged.wait()
    purging.cancel()
