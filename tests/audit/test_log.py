"""The audit log only grows, in the order of commits, keeps no secret, and goes back with what it tells of."""

import asyncio

import asyncpg
import pytest

from app.audit.entry import AuditQuery, AuditRecord
from app.audit.service import AuditService, record
from app.core.actor import Actor, acting
from app.core.db import Database
from tests.fixtures.waiting import until


async def newest(db: Database) -> AuditRecord:
    return (await AuditService(db).list_entries(AuditQuery(limit=1))).items[0]


async def events(db: Database) -> list[str]:
    return [entry.event for entry in (await AuditService(db).list_entries(AuditQuery(limit=100))).items]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_entries SET event = 'nothing'",
        "UPDATE audit_entries SET event = event WHERE false",
        "DELETE FROM audit_entries",
        "DELETE FROM audit_entries WHERE id = 'nobody'",
        "TRUNCATE audit_entries",
        "TRUNCATE budgets, audit_entries CASCADE",
        "MERGE INTO audit_entries USING projects ON false WHEN MATCHED THEN UPDATE SET event = 'nothing'",
    ],
)
async def test_the_database_refuses_to_change_or_to_forget(db: Database, change: str) -> None:
    async with db.transaction() as tx:
        await record(tx, "project.created", "proj_1")
    async with db.hot_connection() as connection:
        with pytest.raises(asyncpg.RaiseError, match=r"^the audit log is append-only$"):
            await connection.execute(change)
    assert await events(db) == ["project.created"]


async def test_nobody_chooses_the_place_of_an_entry(db: Database) -> None:
    async with db.hot_connection() as connection:
        with pytest.raises(asyncpg.GeneratedAlwaysError):
            await connection.execute(
                "INSERT INTO audit_entries (position, id, event, actor_kind, details) VALUES (1, '', '', '', '{}')"
            )


async def test_an_entry_goes_back_with_its_transaction(db: Database) -> None:
    async with db.transaction() as tx:
        await record(tx, "project.created", "proj_1")
        await tx.rollback()
    assert await events(db) == []


async def test_who_records_later_is_seen_later_however_long_the_first_one_takes(db: Database) -> None:
    """Without turns the second would be seen first, and a reader who went on from there would miss the first."""
    first_has_written, second_waits = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with db.transaction() as tx:
            await record(tx, "first.created", None)
            first_has_written.set()
            await second_waits.wait()
            assert await events(db) == []

    async def second() -> None:
        await first_has_written.wait()
        async with db.transaction() as tx:
            await record(tx, "second.created", None)

    async def is_waiting() -> bool:
        async with db.hot_connection() as connection:
            query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            return bool(await connection.fetchval(query))

    async def watch() -> None:
        await until(is_waiting)
        second_waits.set()

    async with asyncio.timeout(10):
        await asyncio.gather(first(), second(), watch())
    assert await events(db) == ["second.created", "first.created"]
    newest_first = (await AuditService(db).list_entries(AuditQuery())).items
    assert newest_first[0].effective_at >= newest_first[1].effective_at


async def test_many_who_record_at_once_all_get_their_turn(db: Database) -> None:
    async def one(number: int) -> None:
        async with db.transaction() as tx:
            await record(tx, "project.created", f"proj_{number}")

    await asyncio.gather(*(one(number) for number in range(40)))
    assert len(await events(db)) == 40


async def test_an_entry_says_who_acted_from_where_and_in_which_request(db: Database) -> None:
    who = Actor("session", "sess_1", "user_1", "ada@example.org", "203.0.113.9", "Firefox", "req_1")
    token = acting.set(who)
    async with db.transaction() as tx:
        await record(tx, "project.created", "proj_1", project_id="proj_1", details={"data": {"name": "One"}})
    acting.reset(token)
    entry = await newest(db)
    assert Actor(entry.actor_kind, *entry[6:12]) == who  # type: ignore[arg-type]
    assert (entry.event, entry.resource_id, entry.project_id) == ("project.created", "proj_1", "proj_1")
    assert entry.details == {"data": {"name": "One"}}


async def test_what_nobody_did_is_weirs_own(db: Database) -> None:
    async with db.transaction() as tx:
        await record(tx, "project.created", None)
    entry = await newest(db)
    assert (entry.actor_kind, entry.actor_id, entry.address, entry.details) == ("system", None, None, {})


async def test_what_looks_like_a_secret_is_not_kept(db: Database) -> None:
    key = "wk-0123456789abcdefghij"
    token = acting.set(Actor("api_key", user_agent=f"curl {key} {'x' * 5_000}"))
    async with db.transaction() as tx:
        details = {
            "data": {"password": "hunter2", "note": f"made with {key}", "limit": 5, "names": [key], "gone": None}
        }
        await record(tx, "project.created", None, details=details)
    acting.reset(token)
    entry = await newest(db)
    redacted = "[redacted]"
    assert entry.details == {
        "data": {"password": redacted, "note": f"made with {redacted}", "limit": 5, "names": [redacted], "gone": None}
    }
    assert str(entry.user_agent).startswith(f"curl {redacted} xxx")
    assert len(str(entry.user_agent)) <= 512
