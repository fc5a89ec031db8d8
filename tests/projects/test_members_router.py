"""The people of a project in OpenAI's own shape, through its SDK, and what is remembered of them."""

import asyncio
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, PermissionDeniedError

from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.signed_in import sign_in
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir


@pytest.fixture
def users(projects: Any) -> Any:
    return projects.users


async def test_a_person_comes_into_a_project_changes_role_and_leaves(weir: RunningWeir, users: Any) -> None:
    ada = await sign_in(weir, "Ada")

    added = await users.create(DEFAULT_PROJECT_ID, user_id=ada.id, role="member")
    assert (added.object, added.id, added.role) == ("organization.project.user", ada.id, "member")
    assert (added.email, added.name) == ("ada@example.com", "Ada")
    assert await users.retrieve(ada.id, project_id=DEFAULT_PROJECT_ID) == added
    changed = await users.update(ada.id, project_id=DEFAULT_PROJECT_ID, role="owner")
    assert changed == added.model_copy(update={"role": "owner"})
    deleted = await users.delete(ada.id, project_id=DEFAULT_PROJECT_ID)
    assert (deleted.id, deleted.deleted, deleted.object) == (ada.id, True, "organization.project.user.deleted")

    for attempt in (
        users.retrieve(ada.id, project_id=DEFAULT_PROJECT_ID),
        users.update(ada.id, project_id=DEFAULT_PROJECT_ID, role="owner"),
        users.delete(ada.id, project_id=DEFAULT_PROJECT_ID),
    ):
        with pytest.raises(NotFoundError) as refused:
            await attempt
        assert refused.value.param == "user_id"
    rows = await weir.sql(
        "SELECT event, resource_id, details FROM audit_entries WHERE project_id = $1 ORDER BY position",
        DEFAULT_PROJECT_ID,
    )
    ours = [(row["event"], row["resource_id"]) for row in rows if row["event"].startswith("user.")]
    assert ours == [(event, ada.id) for event in ("user.added", "user.updated", "user.deleted")]


async def test_who_is_taken_out_meanwhile_gets_no_other_role(weir: RunningWeir, users: Any) -> None:
    ada = await sign_in(weir, "Ada")
    await users.create(DEFAULT_PROJECT_ID, user_id=ada.id, role="member")

    async with weir._connection() as other:
        async with other.transaction():
            await other.execute("DELETE FROM project_members WHERE user_id = $1", ada.id)
            changing = asyncio.create_task(users.update(ada.id, project_id=DEFAULT_PROJECT_ID, role="owner"))
            await until(weir.waits_for_a_lock)
        with pytest.raises(NotFoundError):
            await changing
    assert await weir.sql("SELECT 1 FROM audit_entries WHERE event = 'user.updated'") == []


async def test_a_person_may_be_named_by_address_however_it_is_written(weir: RunningWeir, users: Any) -> None:
    ada, bob = await sign_in(weir, "Ada"), await sign_in(weir, "Bob")
    assert (await users.create(DEFAULT_PROJECT_ID, email=" ADA@Example.com", role="viewer")).id == ada.id
    both = {"user_id": bob.id, "email": "bob@example.com"}
    assert (await users.create(DEFAULT_PROJECT_ID, role="admin", **both)).id == bob.id


async def test_who_cannot_be_added_is_said(weir: RunningWeir, users: Any) -> None:
    ada, bob = await sign_in(weir, "Ada"), await sign_in(weir, "Bob")
    await users.create(DEFAULT_PROJECT_ID, user_id=ada.id, role="member")
    unknown: list[dict[str, Any]] = [{"user_id": "user_nobody"}, {"email": "nobody@example.com"}, {"email": "no %"}]
    for given in unknown:
        with pytest.raises(NotFoundError) as missing:
            await users.create(DEFAULT_PROJECT_ID, role="member", **given)
        assert missing.value.param == next(iter(given))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"user_id": ada.id, "role": "member"}, "user_id"),
        ({"email": "ada@example.com", "role": "member"}, "email"),
        ({"user_id": bob.id, "email": "ada@example.com", "role": "member"}, "email"),
        ({"role": "member"}, "user_id"),
        ({"user_id": bob.id, "role": "god"}, "role"),
        ({"user_id": bob.id, "role": None}, "role"),
        ({"user_id": bob.id, "role": "member", "extra_body": {"project_id": "proj_other"}}, "project_id"),
        ({"email": "x" * 321, "role": "member"}, "email"),
    ]
    for given, param in wrong:
        with pytest.raises(BadRequestError) as refused:
            await users.create(DEFAULT_PROJECT_ID, **given)
        assert refused.value.param == param, given
    assert [user.id async for user in users.list(DEFAULT_PROJECT_ID)] == [ada.id]


async def test_a_list_of_people_is_paged_and_a_cursor_of_another_project_is_refused(
    weir: RunningWeir, projects: Any
) -> None:
    other = await projects.create(name="Other")
    people = [await sign_in(weir, name) for name in ("Ada", "Bob", "Cyd")]
    for person in people:
        await projects.users.create(DEFAULT_PROJECT_ID, user_id=person.id, role="member")
    await projects.users.create(other.id, user_id=people[1].id, role="member")

    assert [user.id async for user in projects.users.list(DEFAULT_PROJECT_ID, limit=2)] == [each.id for each in people]
    assert [user.id async for user in projects.users.list(other.id)] == [people[1].id]
    with pytest.raises(BadRequestError) as refused:
        await projects.users.list(other.id, after=people[0].id)
    assert refused.value.param == "after"


async def test_a_role_in_a_project_allows_what_it_says_there_and_nothing_elsewhere(
    weir: RunningWeir, admin: AsyncOpenAI
) -> None:
    projects = admin.admin.organization.projects
    mine, other = await projects.create(name="Mine"), await projects.create(name="Other")
    owner = await sign_in(weir, "Ada", "member", **{mine.id: "owner"})
    viewer = await sign_in(weir, "Bob", "member", **{mine.id: "viewer"})
    async with (
        weir.openai(admin_api_key=owner.token) as by_owner,
        weir.openai(admin_api_key=viewer.token) as by_viewer,
    ):
        allowed, seen = by_owner.admin.organization.projects, by_viewer.admin.organization.projects
        assert len((await seen.users.list(mine.id)).data) == 2
        for forbidden in (
            seen.update(mine.id, name="x"),
            seen.users.delete(owner.id, project_id=mine.id),
            seen.users.update(viewer.id, project_id=mine.id, role="owner"),
            seen.service_accounts.create(mine.id, name="x"),
            seen.model_permissions.delete(mine.id),
        ):
            with pytest.raises(PermissionDeniedError):
                await forbidden
        assert (await allowed.update(mine.id, name="x")).name == "x"
        await allowed.users.update(viewer.id, project_id=mine.id, role="member")
        for hidden in (allowed.retrieve(other.id), allowed.users.list(other.id), allowed.archive(other.id)):
            with pytest.raises(NotFoundError):
                await hidden
        await allowed.archive(mine.id)
        with pytest.raises(PermissionDeniedError):  # from now on everybody only looks
            await allowed.users.delete(viewer.id, project_id=mine.id)


async def test_a_role_that_another_process_takes_away_is_gone_here_at_once(
    weir: RunningWeir, start_weir: StartWeir
) -> None:
    ada = await sign_in(weir, "Ada", "member", proj_default="owner")
    other = await start_weir({})
    async with weir.http(ada.token) as here:
        assert (await here.get("/v1/organization/projects/proj_default")).status_code == 200
        await other.wiring.members.delete(DEFAULT_PROJECT_ID, ada.id)

        async def is_hidden() -> bool:
            return (await here.get("/v1/organization/projects/proj_default")).status_code == 404

        await until(is_hidden)


async def test_roles_are_assigned_in_one_transaction_with_what_else_happens(weir: RunningWeir, projects: Any) -> None:
    members = weir.wiring.members
    ada = await sign_in(weir, "Ada", "member", proj_default="viewer")
    one, other = [(await projects.create(name=name)).id for name in ("one", "other")]

    async def assign(**roles: Any) -> None:
        async with members._db.transaction() as tx:
            await members.assign(tx, ada.id, roles)
        members.forget(ada.id)

    await assign(**{DEFAULT_PROJECT_ID: "owner", one: "member", other: None})
    assert await members.roles_of(ada.id) == {DEFAULT_PROJECT_ID: "owner", one: "member"}
    await assign(**{DEFAULT_PROJECT_ID: "owner", one: None, other: "admin"})
    assert await members.roles_of(ada.id) == {DEFAULT_PROJECT_ID: "owner", other: "admin"}


async def test_known_roles_need_no_database(weir: RunningWeir) -> None:
    members = weir.wiring.members
    ada = await sign_in(weir, "Ada", "member", proj_default="owner")
    roles = await members.roles_of(ada.id)
    assert roles == {DEFAULT_PROJECT_ID: "owner"}
    assert await members.roles_of(ada.id) is roles
    assert await members.roles_of("user_nobody") == {}
    members.forget("user_nobody")
    assert await members.roles_of(ada.id) is roles
    members.forget_project(DEFAULT_PROJECT_ID)
    assert await members.roles_of(ada.id) is not roles


async def test_who_is_deleted_is_in_no_project(weir: RunningWeir, users: Any) -> None:
    ada = await sign_in(weir, "Ada", "member", proj_default="owner")
    async with weir.openai(admin_api_key=weir.admin_key) as client:
        await client.admin.organization.users.delete(ada.id)
    assert (await users.list(DEFAULT_PROJECT_ID)).data == []
