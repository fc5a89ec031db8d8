"""Projects in OpenAI's own shape, through its SDK."""

from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, PermissionDeniedError

from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.signed_in import sign_in
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir

NAMES = ["Research", "100%_of 'it'; DROP TABLE projects;--", "Ünïcode ☃ 日本語", "<b>bold</b>", "x" * 256]
NO_NAMES: list[Any] = [
    "",
    " ",
    "\t",
    "a\nb",
    "a\0b",
    "\x7f",
    "\u202etxt.exe",
    "x" * 257,
    "x" * 200_000,
    None,
    7,
    ["a"],
]


async def audited(weir: RunningWeir, *events: str) -> list[tuple[str, str]]:
    rows = await weir.sql(
        "SELECT event, resource_id FROM audit_entries WHERE event = ANY ($1) ORDER BY position", events
    )
    return [(row["event"], row["resource_id"]) for row in rows]


async def test_a_project_is_made_renamed_and_archived_and_nothing_is_deleted(weir: RunningWeir, projects: Any) -> None:
    made = await projects.create(name="Research")
    assert (made.object, made.name, made.status, made.archived_at) == (
        "organization.project",
        "Research",
        "active",
        None,
    )
    assert await projects.retrieve(made.id) == made

    renamed = await projects.update(made.id, name="Development")
    assert renamed == made.model_copy(update={"name": "Development"})
    archived = await projects.archive(made.id)
    assert archived.status == "archived"
    assert archived.archived_at >= made.created_at

    assert await projects.archive(made.id) == archived
    assert await projects.retrieve(made.id) == archived
    events = ("project.created", "project.updated", "project.archived")
    assert await audited(weir, *events) == [(event, made.id) for event in events]


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_may_be_anything_that_can_be_read(projects: Any, name: str) -> None:
    made = await projects.create(name=name)
    assert (await projects.retrieve(made.id)).name == name


async def test_what_cannot_be_read_is_no_name(weir: RunningWeir, projects: Any) -> None:
    for name in NO_NAMES:
        for attempt in (projects.create(name=name), projects.update(DEFAULT_PROJECT_ID, name=name)):
            with pytest.raises(BadRequestError) as refused:
                await attempt
            assert refused.value.param == "name"
            assert len(refused.value.message) < 500
    async with weir.http(weir.admin_key) as client:
        headers = {"content-type": "application/json"}
        answer = await client.post("/v1/organization/projects", content=b'{"name": "\\ud800"}', headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "name")


async def test_what_weir_does_not_know_of_a_project_cannot_be_set(projects: Any) -> None:
    for extra in ({"id": "proj_mine"}, {"archived_at": None}, {"status": "active"}, {"geography": "EU"}):
        with pytest.raises(BadRequestError) as refused:
            await projects.create(name="Research", extra_body=extra)
        assert refused.value.param == next(iter(extra))
    assert (await projects.create(name="Research", geography=None)).name == "Research"


async def test_a_list_is_paged_and_shows_archived_projects_on_demand(projects: Any) -> None:
    made = [await projects.create(name=f"P{number}") for number in range(4)]
    await projects.archive(made[1].id)
    ids = [project.id for project in made]

    active = [DEFAULT_PROJECT_ID, ids[0], ids[2], ids[3]]
    assert [project.id async for project in projects.list(limit=1)] == active
    assert [project.id async for project in projects.list(limit=3, include_archived=True)] == [DEFAULT_PROJECT_ID, *ids]
    page = await projects.list(after=ids[1], limit=1)
    assert ([project.id for project in page.data], page.has_more, page.last_id) == ([ids[2]], True, ids[2])
    none = await projects.list(after=ids[3])
    assert (none.data, none.has_more, none.last_id) == ([], False, None)


BAD_PAGES: list[tuple[dict[str, Any], str]] = [
    ({"limit": 0}, "limit"),
    ({"limit": -1}, "limit"),
    ({"limit": 101}, "limit"),
    ({"limit": 10**30}, "limit"),
    ({"limit": "many"}, "limit"),
    ({"after": "proj_nowhere"}, "after"),
    ({"after": ""}, "after"),
    ({"after": "x" * 300}, "after"),
    ({"after": "a\0b"}, "after"),
    ({"extra_query": {"status": "active"}}, "status"),
]


async def test_a_page_that_cannot_be_is_refused_by_name(projects: Any) -> None:
    for query, param in BAD_PAGES:
        for listed in (projects.list, projects.users.list, projects.service_accounts.list, projects.api_keys.list):
            place = () if listed == projects.list else (DEFAULT_PROJECT_ID,)
            with pytest.raises(BadRequestError) as refused:
                await listed(*place, **query)
            assert refused.value.param == param, (query, listed)


async def test_an_unknown_project_is_not_found_and_the_first_one_stays(projects: Any) -> None:
    nowhere = "proj_nowhere"
    for attempt in (
        projects.retrieve(nowhere),
        projects.update(nowhere, name="x"),
        projects.archive(nowhere),
        projects.users.list(nowhere),
        projects.service_accounts.create(nowhere, name="x"),
        projects.api_keys.list(nowhere),
        projects.model_permissions.retrieve(nowhere),
    ):
        with pytest.raises(NotFoundError) as refused:
            await attempt
        assert refused.value.param == "project_id"
    with pytest.raises(BadRequestError, match="began with"):
        await projects.archive(DEFAULT_PROJECT_ID)


async def test_in_an_archived_project_nothing_can_be_changed(weir: RunningWeir, projects: Any) -> None:
    ada = await sign_in(weir, "Ada")
    project = await projects.create(name="Old")
    await projects.users.create(project.id, user_id=ada.id, role="member")
    account = await projects.service_accounts.create(project.id, name="job")
    await projects.archive(project.id)

    for attempt in (
        projects.update(project.id, name="x"),
        projects.users.create(project.id, user_id=ada.id, role="member"),
        projects.users.update(ada.id, project_id=project.id, role="owner"),
        projects.service_accounts.create(project.id, name="x"),
        projects.service_accounts.update(account.id, project_id=project.id, name="x"),
        projects.service_accounts.api_keys.create(account.id, project_id=project.id),
        projects.model_permissions.update(project.id, mode="deny_list", model_ids=[]),
    ):
        with pytest.raises(BadRequestError, match="archived"):
            await attempt
    assert (await projects.users.retrieve(ada.id, project_id=project.id)).role == "member"
    [key] = (await projects.api_keys.list(project.id)).data
    async with weir.http(weir.admin_key) as client:
        for refused in (
            await client.post(f"/v1/organization/projects/{project.id}/api_keys/{key.id}", json={"scopes": []}),
            await client.patch(f"/v1/gateway/keys/{key.id}", json={"name": "x"}),
            await client.post(f"/v1/gateway/keys/{key.id}/rotate", json={}),
        ):
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "project_id")
    assert key.owner_project_access == "inactive"
    assert [key.id for key in (await projects.api_keys.list(project.id, owner_project_access="inactive")).data]
    assert (await projects.api_keys.list(project.id, owner_project_access="active")).data == []
    assert (await projects.api_keys.delete(key.id, project_id=project.id)).deleted


async def test_an_archived_projects_keys_stop_and_other_projects_go_on(weir: RunningWeir, projects: Any) -> None:
    project = await projects.create(name="Old")
    key = (await projects.service_accounts.create(project.id, name="job")).api_key.value
    async with weir.http(key) as old, weir.http() as other:
        assert (await old.get("/v1/models")).status_code == 200
        assert (await other.get("/v1/models")).status_code == 200
        await projects.archive(project.id)

        async def is_refused() -> bool:
            return (await old.get("/v1/models")).status_code == 401

        await until(is_refused)
        assert (await other.get("/v1/models")).status_code == 200


async def test_a_person_sees_the_own_projects_in_the_list(weir: RunningWeir, admin: AsyncOpenAI) -> None:
    projects = admin.admin.organization.projects
    mine, other = await projects.create(name="Mine"), await projects.create(name="Other")
    ada = await sign_in(weir, "Ada", "member", **{mine.id: "member"})
    bob = await sign_in(weir, "Bob", "viewer")
    nobody = await sign_in(weir, "Eve")

    async def seen_by(token: str, **query: Any) -> list[str]:
        async with weir.openai(admin_api_key=token) as client:
            return [project.id async for project in client.admin.organization.projects.list(**query)]

    assert await seen_by(ada.token) == [mine.id]
    assert await seen_by(bob.token) == [DEFAULT_PROJECT_ID, mine.id, other.id]
    assert await seen_by(nobody.token) == []
    with pytest.raises(BadRequestError):  # a cursor of somebody else's list
        await seen_by(ada.token, after=other.id)
    with pytest.raises(PermissionDeniedError):
        await seen_by(weir.api_key)
    async with weir.openai(admin_api_key=ada.token) as client:
        with pytest.raises(PermissionDeniedError):
            await client.admin.organization.projects.create(name="x")
        with pytest.raises(NotFoundError) as hidden:
            await client.admin.organization.projects.retrieve(other.id)
        with pytest.raises(NotFoundError) as unknown:
            await client.admin.organization.projects.retrieve("proj_nowhere")
    assert hidden.value.message.replace(other.id, "proj_nowhere") == unknown.value.message


async def test_a_list_that_has_not_changed_is_not_sent_again(weir: RunningWeir) -> None:
    async with weir.http(weir.admin_key) as client:
        first = await client.get("/v1/organization/projects")
        tag = first.headers["etag"]
        for known in (tag, f'"other", {tag}', "*", tag.removeprefix("W/")):
            again = await client.get("/v1/organization/projects", headers={"if-none-match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        await client.post("/v1/organization/projects", json={"name": "New"})
        changed = await client.get("/v1/organization/projects", headers={"if-none-match": tag})
        missing = await client.get("/v1/organization/projects/proj_nowhere", headers={"if-none-match": "*"})
    assert (changed.status_code, missing.status_code) == (200, 404)
    assert changed.headers["etag"] != tag
