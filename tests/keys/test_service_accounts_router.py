"""Service accounts, and keys of projects and of the organization, in OpenAI's own shape, through its SDK."""

from typing import Any

import pytest
from openai import (
    AsyncOpenAI,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
)

from app.core.clock import utc_now
from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.signed_in import sign_in
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir

PLACE = {"project_id": DEFAULT_PROJECT_ID}
HI: list[Any] = [{"role": "user", "content": "Hi"}]
YEAR_SECONDS = 31_536_000


@pytest.fixture
def accounts(projects: Any) -> Any:
    return projects.service_accounts


async def works(weir: RunningWeir, value: str) -> bool:
    async with weir.http(value) as client:
        status = (await client.get("/v1/models")).status_code
    assert status in (200, 401)
    return status == 200


async def audited(weir: RunningWeir, *events: str) -> list[tuple[str, str]]:
    rows = await weir.sql(
        "SELECT event, resource_id FROM audit_entries WHERE event = ANY ($1) ORDER BY position", events
    )
    return [(row["event"], row["resource_id"]) for row in rows]


async def test_a_service_account_comes_with_a_key_that_is_shown_once(weir: RunningWeir, accounts: Any) -> None:
    made = await accounts.create(DEFAULT_PROJECT_ID, name="Nightly report")

    assert (made.name, made.role) == ("Nightly report", "member")
    assert made.api_key.object == "organization.project.service_account.api_key"
    assert (made.api_key.name, made.api_key.expires_at) == ("Secret Key", None)
    assert await works(weir, made.api_key.value)
    found = await accounts.retrieve(made.id, **PLACE)
    assert found.model_dump() == made.model_dump(exclude={"api_key"})
    async with weir.http(weir.admin_key) as client:
        everything = await client.get("/v1/organization/audit_logs")
        listed = await client.get("/v1/gateway/keys")
    assert made.api_key.value not in everything.text + listed.text
    async with weir.openai(api_key=made.api_key.value) as client_of_account:
        await client_of_account.chat.completions.create(model="sim-small", messages=HI)
    assert (await weir.entries())[-1]["key_id"] == made.api_key.id


async def test_a_service_account_without_a_role_gets_no_key_until_it_has_one(weir: RunningWeir, accounts: Any) -> None:
    made = await accounts.create(DEFAULT_PROJECT_ID, name="Later", create_service_account_only=True)
    assert (made.api_key, made.role) == (None, "none")
    with pytest.raises(BadRequestError, match="role 'member' first"):
        await accounts.api_keys.create(made.id, **PLACE, name="x")

    changed = await accounts.update(made.id, **PLACE, role="member", name="Now")
    assert (changed.role, changed.name) == ("member", "Now")
    assert await accounts.update(made.id, **PLACE, role="member") == changed
    key = await accounts.api_keys.create(made.id, **PLACE, name="Backup", expires_in_seconds=YEAR_SECONDS)
    assert (key.name, key.expires_at - key.created_at) == ("Backup", YEAR_SECONDS)
    assert await works(weir, key.value)
    updates = await audited(weir, "service_account.updated", "api_key.created")
    assert [event for event, _ in updates][-2:] == ["service_account.updated", "api_key.created"]


async def test_a_key_of_an_account_that_loses_its_role_stops(weir: RunningWeir, accounts: Any) -> None:
    made = await accounts.create(DEFAULT_PROJECT_ID, name="x")
    await weir.sql("UPDATE service_accounts SET role = 'none'")
    assert not await works(weir, made.api_key.value)


async def test_with_an_account_all_its_keys_go_and_no_others(weir: RunningWeir, accounts: Any) -> None:
    made, other = [await accounts.create(DEFAULT_PROJECT_ID, name=name) for name in ("one", "other")]
    second = await accounts.api_keys.create(made.id, **PLACE)
    assert await works(weir, made.api_key.value)

    deleted = await accounts.delete(made.id, **PLACE)
    assert (deleted.deleted, deleted.object) == (True, "organization.project.service_account.deleted")

    assert [await works(weir, key.value) for key in (made.api_key, second, other.api_key)] == [False, False, True]
    for attempt in (
        accounts.retrieve(made.id, **PLACE),
        accounts.delete(made.id, **PLACE),
        accounts.update(made.id, **PLACE, name="x"),
        accounts.api_keys.create(made.id, **PLACE),
    ):
        with pytest.raises(NotFoundError) as refused:
            await attempt
        assert refused.value.param == "service_account_id"
    gone = await audited(weir, "api_key.deleted", "service_account.deleted")
    assert set(gone[:2]) == {("api_key.deleted", made.api_key.id), ("api_key.deleted", second.id)}
    assert gone[2:] == [("service_account.deleted", made.id)]


async def test_accounts_can_be_deleted_while_they_are_listed_page_by_page(accounts: Any) -> None:
    for number in range(5):
        await accounts.create(DEFAULT_PROJECT_ID, name=f"A{number}")
    async for each in accounts.list(DEFAULT_PROJECT_ID, limit=2):
        await accounts.delete(each.id, **PLACE)
    assert (await accounts.list(DEFAULT_PROJECT_ID)).data == []


async def test_accounts_are_listed_in_pages_of_their_project_only(projects: Any, accounts: Any) -> None:
    other = await projects.create(name="Other")
    made = [await accounts.create(DEFAULT_PROJECT_ID, name=f"A{number}") for number in range(3)]
    stranger = await accounts.create(other.id, name="stranger")
    assert [each.id async for each in accounts.list(DEFAULT_PROJECT_ID, limit=2)] == [each.id for each in made]
    with pytest.raises(BadRequestError) as refused:
        await accounts.list(DEFAULT_PROJECT_ID, after=stranger.id)
    assert refused.value.param == "after"
    for attempt in (
        accounts.retrieve(stranger.id, **PLACE),
        accounts.delete(stranger.id, **PLACE),
        accounts.api_keys.create(stranger.id, **PLACE),
        projects.api_keys.retrieve(stranger.api_key.id, **PLACE),
        projects.api_keys.update(stranger.api_key.id, **PLACE, scopes=[]),
        projects.api_keys.delete(stranger.api_key.id, **PLACE),
    ):
        with pytest.raises(NotFoundError):
            await attempt


BAD_ACCOUNTS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": "a\0b"}, "name"),
    ({"name": "x" * 200_000}, "name"),
    ({"name": "x", "expires_in_seconds": 0}, "expires_in_seconds"),
    ({"name": "x", "expires_in_seconds": -5}, "expires_in_seconds"),
    ({"name": "x", "expires_in_seconds": 10**12}, "expires_in_seconds"),
    ({"name": "x", "expires_in_seconds": 1.5}, "expires_in_seconds"),
    ({"name": "x", "create_service_account_only": True, "expires_in_seconds": 60}, "expires_in_seconds"),
    ({"name": "x", "extra_body": {"role": "owner"}}, "role"),
    ({"name": "x", "extra_body": {"project_id": "proj_other"}}, "project_id"),
]


async def test_accounts_that_cannot_be_are_refused(accounts: Any) -> None:
    for given, param in BAD_ACCOUNTS:
        with pytest.raises(BadRequestError) as refused:
            await accounts.create(DEFAULT_PROJECT_ID, **given)
        assert refused.value.param == param, given
    made = await accounts.create(DEFAULT_PROJECT_ID, name="x", expires_in_seconds=60)
    assert made.api_key.expires_at == made.api_key.created_at + 60
    bad_updates: list[tuple[dict[str, Any], str]] = [({"role": "none"}, "role"), ({"name": None}, "name")]
    for given, param in bad_updates:
        with pytest.raises(BadRequestError) as refused:
            await accounts.update(made.id, **PLACE, **given)
        assert refused.value.param == param
    for given, param in (({"scopes": ["everything"]}, "scopes[0]"), ({"extra_body": {"user_id": "user_1"}}, "user_id")):
        with pytest.raises(BadRequestError) as refused:
            await accounts.api_keys.create(made.id, **PLACE, **given)
        assert refused.value.param == param


async def test_a_projects_keys_are_shown_with_their_owners(weir: RunningWeir, projects: Any, accounts: Any) -> None:
    ada = await sign_in(weir, "Ada", "member", proj_default="member")
    personal = await weir.wiring.keys.create("api", "Ada's", project_id=DEFAULT_PROJECT_ID, user_id=ada.id)
    made = await accounts.create(DEFAULT_PROJECT_ID, name="job")

    bare, of_ada, of_account = (await projects.api_keys.list(DEFAULT_PROJECT_ID)).data

    assert (bare.owner.type, bare.owner_project_access) == (None, "active")
    assert (of_ada.id, of_ada.owner.type, of_ada.owner_project_access) == (personal.id, "user", "active")
    assert (of_ada.owner.user.id, of_ada.owner.user.email, of_ada.owner.user.role) == (
        ada.id,
        "ada@example.com",
        "member",
    )
    assert (of_account.owner.type, of_account.owner.service_account.id) == ("service_account", made.id)
    assert of_account.redacted_value.startswith(made.api_key.value[:7])
    assert of_account.redacted_value != made.api_key.value
    assert await projects.api_keys.retrieve(of_account.id, **PLACE) == of_account


async def test_a_key_whose_owner_left_the_project_is_inactive_and_refused_until_they_are_back(
    weir: RunningWeir, projects: Any
) -> None:
    ada = await sign_in(weir, "Ada", "member", proj_default="member")
    key = await weir.wiring.keys.create("api", "Ada's", project_id=DEFAULT_PROJECT_ID, user_id=ada.id)
    assert await works(weir, key.value)

    async def listed(access: str) -> list[str]:
        return [each.id async for each in projects.api_keys.list(DEFAULT_PROJECT_ID, owner_project_access=access)]

    async def is_refused() -> bool:
        return not await works(weir, key.value)

    for change in (
        projects.users.update(ada.id, **PLACE, role="viewer"),
        projects.users.delete(ada.id, **PLACE),
    ):
        await change
        await until(is_refused)
        assert await listed("inactive") == [key.id]
        assert key.id not in await listed("active")
        assert key.id in await listed("any")
    shown = await projects.api_keys.retrieve(key.id, **PLACE)
    assert (shown.owner_project_access, shown.owner.user.role) == ("inactive", "none")

    await projects.users.create(DEFAULT_PROJECT_ID, user_id=ada.id, role="member")
    await until(lambda: works(weir, key.value))


async def test_a_key_of_a_person_who_is_deleted_stops(weir: RunningWeir, admin: AsyncOpenAI) -> None:
    ada = await sign_in(weir, "Ada", "member", proj_default="member")
    key = await weir.wiring.keys.create("api", "Ada's", project_id=DEFAULT_PROJECT_ID, user_id=ada.id)
    assert await works(weir, key.value)

    await admin.admin.organization.users.delete(ada.id)

    async def is_refused() -> bool:
        return not await works(weir, key.value)

    await until(is_refused)
    shown: Any = await admin.admin.organization.projects.api_keys.retrieve(key.id, project_id=DEFAULT_PROJECT_ID)
    assert (shown.owner.user.name, shown.owner.user.id) == ("", ada.id)


async def test_a_projects_key_is_changed_and_revoked(weir: RunningWeir, projects: Any, accounts: Any) -> None:
    key = (await accounts.create(DEFAULT_PROJECT_ID, name="job")).api_key
    assert await works(weir, key.value)

    changed = await projects.api_keys.update(key.id, **PLACE, scopes=["model.request"], expires_in_seconds=3_600)
    assert 3_590 <= changed.expires_at - utc_now().timestamp() <= 3_601
    async with weir.openai(api_key=key.value) as client:
        await client.chat.completions.create(model="sim-small", messages=HI)
        with pytest.raises(PermissionDeniedError, match=r"Missing scopes: api\.model\.read"):
            await client.models.list()
    await projects.api_keys.update(key.id, **PLACE, scopes=[])
    assert await works(weir, key.value)
    [entry] = await weir.sql(
        "SELECT details FROM audit_entries WHERE event = 'api_key.updated' AND resource_id = $1 LIMIT 1", key.id
    )
    assert "api.model.request" in entry["details"]

    deleted = await projects.api_keys.delete(key.id, **PLACE)
    assert (deleted.deleted, deleted.object) == (True, "organization.project.api_key.deleted")
    assert not await works(weir, key.value)
    for attempt in (projects.api_keys.retrieve(key.id, **PLACE), projects.api_keys.delete(key.id, **PLACE)):
        with pytest.raises(NotFoundError):
            await attempt
    assert key.id not in [each.id async for each in projects.api_keys.list(DEFAULT_PROJECT_ID)]


async def test_an_admin_key_is_made_listed_and_revoked(weir: RunningWeir, admin: AsyncOpenAI) -> None:
    keys = admin.admin.organization.admin_api_keys
    made = await keys.create(name="Terraform", expires_in_seconds=3_600)
    assert made.value.startswith("wa-")
    assert made.expires_at == made.created_at + 3_600
    assert (await keys.retrieve(made.id)).model_dump() == made.model_dump(exclude={"value"})
    own = [key.id async for key in keys.list(limit=1)]
    assert own[-1] == made.id
    assert [key.id async for key in keys.list(order="desc")] == own[::-1]
    async with weir.openai(admin_api_key=made.value) as client:
        assert (await client.admin.organization.projects.list()).data

    deleted = await keys.delete(made.id)
    assert (deleted.deleted, deleted.object) == (True, "organization.admin_api_key.deleted")
    async with weir.openai(admin_api_key=made.value) as client:
        with pytest.raises(AuthenticationError):
            await client.admin.organization.projects.list()
    for attempt in (keys.retrieve(made.id), keys.delete(made.id), keys.retrieve("key_nobody")):
        with pytest.raises(NotFoundError):
            await attempt
    assert ("api_key.deleted", made.id) in await audited(weir, "api_key.deleted")


async def test_only_owners_have_to_do_with_admin_keys_and_api_keys_are_none_of_them(
    weir: RunningWeir, admin: AsyncOpenAI, accounts: Any
) -> None:
    api_key = (await accounts.create(DEFAULT_PROJECT_ID, name="job")).api_key
    keys = admin.admin.organization.admin_api_keys
    for attempt in (keys.retrieve(api_key.id), keys.delete(api_key.id)):
        with pytest.raises(NotFoundError):
            await attempt
    with pytest.raises(BadRequestError):
        await keys.list(after=api_key.id)
    for role in ("admin", "member", "viewer"):
        person = await sign_in(weir, f"A{role}", role, proj_default="owner")
        async with weir.openai(admin_api_key=person.token) as client:
            theirs = client.admin.organization.admin_api_keys
            for forbidden in (theirs.list(), theirs.create(name="x"), theirs.delete("key_nobody")):
                with pytest.raises(PermissionDeniedError):
                    await forbidden


async def test_an_owners_admin_key_ends_with_their_being_an_owner(weir: RunningWeir, admin: AsyncOpenAI) -> None:
    ada, bob = await sign_in(weir, "Ada", "owner"), await sign_in(weir, "Bob", "owner")
    async with weir.openai(admin_api_key=ada.token) as client:
        made = await client.admin.organization.admin_api_keys.create(name="Ada's")
    assert (made.owner.id, made.owner.name, made.owner.role) == (ada.id, "Ada", "owner")
    assert await works(weir, made.value)

    await admin.admin.organization.users.update(ada.id, role="admin")

    async def is_refused() -> bool:
        return not await works(weir, made.value)

    await until(is_refused)
    assert bob.user.role == "owner"
