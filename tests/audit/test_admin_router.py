"""The audit log through OpenAI's own SDK: its shape, its filters, its pages."""

from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, PermissionDeniedError

from app.audit.service import record
from app.core.actor import Actor, acting
from app.core.db import Database
from tests.fixtures.weir import RunningWeir

ADA = Actor("session", "sess_1", "user_ada", "ada@example.org", "203.0.113.9", "Firefox", "req_1")
BOB = Actor("api_key", "key_bob", "user_bob", None, "203.0.113.10", None, "req_2")
PROGRAM = Actor("api_key", "key_program", address="203.0.113.11", request_id="req_3")


async def write(db: Database, event: str, resource_id: str | None, actor: Actor | None = None, **more: Any) -> None:
    token = acting.set(actor or ADA)
    async with db.transaction() as tx:
        await record(tx, event, resource_id, **more)
    acting.reset(token)


@pytest.fixture
async def log(db: Database) -> list[str]:
    """Seven entries; return what they were done to, the newest first."""
    await write(db, "project.created", "proj_1", project_id="proj_1", details={"data": {"name": "one", "title": "One"}})
    await write(db, "api_key.created", "key_1", BOB, project_id="proj_1", details={"data": {"scopes": ["all"]}})
    await write(db, "project.created", "proj_2", PROGRAM, project_id="proj_2")
    await write(db, "budget.created", "bud_1", BOB, project_id="proj_2", details={"data": {"limit_usd": "5"}})
    await write(db, "login.failed", None, Actor("session", email="eve@example.org"), details={"error_code": "wrong"})
    await write(db, "project.updated", "proj_1", project_id="proj_1", details={"changes_requested": {"title": "Two"}})
    await write(db, "api_key.deleted", "key_1", Actor("system"), project_id="proj_1")
    return ["key_1", "proj_1", "-", "bud_1", "proj_2", "key_1", "proj_1"]


async def found(admin: AsyncOpenAI, **query: Any) -> list[tuple[str, str | None]]:
    """Return (type, id of the object) of everything that the SDK pages through."""
    entries = [entry async for entry in admin.admin.organization.audit_logs.list(**query)]
    return [(entry.type, _details(entry).get("id")) for entry in entries]


def _details(entry: Any) -> dict[str, Any]:
    details: dict[str, Any] = entry.to_dict(mode="json")[entry.type]
    return details


async def test_entries_are_in_openais_shape(admin: AsyncOpenAI, log: list[str]) -> None:
    page = await admin.admin.organization.audit_logs.list()
    entries: list[Any] = page.data
    deleted, updated, failed, budget, by_program, key, project = entries

    session = project.actor.session
    assert (project.type, project.actor.type, session.ip_address) == ("project.created", "session", "203.0.113.9")
    assert (session.user.id, session.user.email, session.user_agent) == ("user_ada", "ada@example.org", "Firefox")
    assert (project.project.id, project.project_created.id) == ("proj_1", "proj_1")
    assert (project.project_created.data.title, project.request_id) == ("One", "req_1")

    api_key = key.actor.api_key
    assert (key.actor.type, api_key.id, api_key.type, api_key.user.id) == ("api_key", "key_bob", "user", "user_bob")
    assert key.api_key_created.data.scopes == ["all"]
    assert by_program.actor.to_dict() == {
        "type": "api_key",
        "api_key": {"id": "key_program", "ip_address": "203.0.113.11"},
    }

    assert budget.to_dict()["budget.created"] == {"id": "bud_1", "data": {"limit_usd": "5"}}
    assert failed.login_failed.error_code == "wrong"
    assert "project" not in failed.to_dict()
    assert failed.to_dict()["login.failed"] == {"error_code": "wrong"}
    assert updated.project_updated.changes_requested.title == "Two"
    assert (deleted.actor, deleted.api_key_deleted.id) == (None, "key_1")


async def test_an_entry_whose_events_openai_has_is_strictly_what_its_sdk_expects(
    weir: RunningWeir, log: list[str]
) -> None:
    async with weir.openai(admin_api_key=weir.admin_key, _strict_response_validation=True) as client:
        events: Any = ["project.created", "api_key.created", "api_key.deleted", "login.failed", "project.updated"]
        page = await client.admin.organization.audit_logs.list(event_types=events)
    assert len(page.data) == 6


async def test_an_empty_log_is_an_empty_page(admin: AsyncOpenAI, db: Database) -> None:
    page = await admin.admin.organization.audit_logs.list()
    assert page.to_dict() == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"event_types": ["project.created"]}, ["proj_2", "proj_1"]),
        ({"event_types": ["project.created", "api_key.created"]}, ["proj_2", "key_1", "proj_1"]),
        ({"event_types": ["tunnel.created"]}, []),
        ({"project_ids": ["proj_2"]}, ["bud_1", "proj_2"]),
        ({"project_ids": ["proj_2", "proj_1"], "event_types": ["project.created"]}, ["proj_2", "proj_1"]),
        ({"actor_ids": ["user_bob"]}, ["bud_1", "key_1"]),
        ({"actor_ids": ["key_bob"]}, ["bud_1", "key_1"]),
        ({"actor_ids": ["sess_1"]}, ["proj_1", "proj_1"]),
        ({"actor_ids": ["key_program", "key_bob"]}, ["bud_1", "proj_2", "key_1"]),
        ({"actor_ids": ["key_program", "user_bob"]}, ["bud_1", "proj_2", "key_1"]),
        ({"actor_emails": ["ada@example.org"]}, ["proj_1", "proj_1"]),
        ({"actor_emails": ["eve@example.org"]}, [None]),
        ({"resource_ids": ["key_1"]}, ["key_1", "key_1"]),
        ({"resource_ids": ["key_1"], "actor_ids": ["user_bob"]}, ["key_1"]),
        ({"resource_ids": ["%", "_"]}, []),
        ({"tenant_only": False, "event_types": ["project.updated"]}, ["proj_1"]),
    ],
)
async def test_filters_find_what_they_say(
    admin: AsyncOpenAI, log: list[str], query: dict[str, Any], expected: list[str | None]
) -> None:
    assert [resource_id for _, resource_id in await found(admin, **query)] == expected


async def test_pages_of_a_stretch_of_time_miss_nothing_and_repeat_nothing(admin: AsyncOpenAI, log: list[str]) -> None:
    logs = admin.admin.organization.audit_logs
    everything = [entry.id for entry in (await logs.list(limit=100)).data]
    since: Any = {"gt": 0}
    paged = [entry.id async for entry in logs.list(limit=2, effective_at=since)]
    back = (await logs.list(limit=2, effective_at=since, before=everything[3])).data

    assert paged == everything
    assert [entry.id for entry in back] == everything[1:3]
    assert (await logs.list(after=everything[1], before=everything[4], effective_at=since)).data[0].id == everything[2]


async def test_moments_are_whole_seconds_with_and_without_their_edges(admin: AsyncOpenAI, db: Database) -> None:
    await write(db, "project.created", "proj_1")
    (entry,) = (await admin.admin.organization.audit_logs.list()).data
    second = entry.effective_at
    everything, nothing = [("project.created", "proj_1")], list[Any]()
    for query, expected in (
        ({"gte": second}, everything),
        ({"gt": second}, nothing),
        ({"gt": second - 1}, everything),
        ({"lte": second}, everything),
        ({"lt": second}, nothing),
        ({"lt": second + 1}, everything),
        ({"gte": second, "lte": second}, everything),
        ({"gt": second - 1, "lt": second}, nothing),
        ({"gte": 0, "gt": second}, nothing),
        ({"lte": 4_102_444_800, "lt": second}, nothing),
    ):
        assert await found(admin, effective_at=query) == expected, query


async def test_pages_follow_each_other_without_a_gap(admin: AsyncOpenAI, log: list[str]) -> None:
    for limit in (1, 2, 3, 7, 100):
        assert [resource_id or "-" for _, resource_id in await found(admin, limit=limit)] == log, limit


async def test_a_page_before_another_is_the_one_next_to_it(admin: AsyncOpenAI, log: list[str]) -> None:
    logs = admin.admin.organization.audit_logs
    everything = [entry.id for entry in (await logs.list()).data]
    page = await logs.list(before=everything[5], limit=2)
    assert [entry.id for entry in page.data] == everything[3:5]
    assert page.has_more
    first = await logs.list(before=everything[2], limit=2)
    assert [entry.id for entry in first.data] == everything[:2]
    assert not first.has_more
    between = await logs.list(after=everything[1], before=everything[5])
    assert [entry.id for entry in between.data] == everything[2:5]


async def test_an_entry_that_is_written_meanwhile_does_not_move_the_pages(
    admin: AsyncOpenAI, db: Database, log: list[str]
) -> None:
    logs = admin.admin.organization.audit_logs
    first = await logs.list(limit=3)
    await write(db, "project.created", "proj_new")
    rest = await logs.list(limit=100, after=first.data[-1].id)
    assert [_details(entry).get("id") or "-" for entry in (*first.data, *rest.data)] == log


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"after": "audit_unknown"}, "after"),
        ({"before": "audit_unknown"}, "before"),
        ({"after": "'; DROP TABLE audit_entries; --"}, "after"),
        ({"after": "a\x00b"}, "after"),
        ({"after": ""}, "after"),
        ({"limit": 0}, "limit"),
        ({"limit": -1}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": 10**30}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"effective_at[gt]": -1}, "effective_at[gt]"),
        ({"effective_at[lte]": 10**30}, "effective_at[lte]"),
        ({"effective_at[gte]": "yesterday"}, "effective_at[gte]"),
        ({"effective_at": 5}, "effective_at"),
        ({"effective_at[ne]": 5}, "effective_at[ne]"),
        ({"project_ids": "proj_1"}, "project_ids"),
        ({"project_ids[]": ["x"] * 101}, "project_ids[]"),
        ({"event_types[]": ["x" * 1_000]}, "event_types[][0]"),
        ({"actor_ids[]": ["\x00"]}, "actor_ids[][0]"),
        ({"tenant_only": "true"}, "tenant_only"),
        ({"order": "asc"}, "order"),
    ],
)
async def test_a_question_that_makes_no_sense_names_the_field(
    weir: RunningWeir, query: dict[str, Any], param: str
) -> None:
    async with weir.http(weir.admin_key) as client:
        response = await client.get("/v1/organization/audit_logs", params=query)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param


async def test_an_api_key_may_not_read_the_log(weir: RunningWeir) -> None:
    async with weir.openai(admin_api_key=weir.api_key) as client:
        with pytest.raises(PermissionDeniedError):
            await client.admin.organization.audit_logs.list()


async def test_the_sdk_raises_what_a_cursor_of_another_list_deserves(admin: AsyncOpenAI, log: list[str]) -> None:
    with pytest.raises(BadRequestError, match="there is no such entry"):
        await admin.admin.organization.audit_logs.list(after="proj_1")


async def test_the_moments_of_entries_are_in_the_order_of_their_places(weir: RunningWeir, log: list[str]) -> None:
    rows = await weir.sql("SELECT effective_at FROM audit_entries ORDER BY position")
    assert rows == sorted(rows)
