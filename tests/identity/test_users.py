"""The people of the organization, with the official SDK; who decides about whom; and that an owner always remains."""

import asyncio
from typing import Any, get_args

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from app.errors import Forbidden
from app.identity.person import NewUser
from app.identity.roles import ORGANIZATION_RIGHTS, PROJECT_RIGHTS, Role, merged
from app.identity.user_service import require_may_assign
from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir
from tests.identity.conftest import MakePerson, SignIn

PATH = "/v1/organization/users"


async def ask(
    weir: RunningWeir, token: str, method: str, path: str = "", body: Any = None, **headers: str
) -> httpx.Response:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    async with weir.http(token) as client:
        return await client.request(method, f"{PATH}{path}", json=body, headers=headers)


async def test_the_sdk_lists_shows_changes_and_deletes_people(admin: AsyncOpenAI, make_person: MakePerson) -> None:
    users = admin.admin.organization.users
    ada = await make_person(role="owner")
    people = [await make_person(f"person-{number}@example.com") for number in range(5)]

    listed = [user async for user in users.list(limit=2)]
    assert [user.id for user in listed] == [ada.id, *(person.id for person in people)]
    assert [user.role for user in listed] == ["owner", *["reader"] * 5]
    found = [user async for user in users.list(emails=["ADA@example.com", "person-3@example.com", "no@example.com"])]
    assert [user.email for user in found] == ["ada@example.com", "person-3@example.com"]
    shown = await users.retrieve(ada.id)
    assert (shown.id, shown.name, shown.object) == (ada.id, "Ada", "organization.user")
    assert shown.added_at == int(ada.created_at.timestamp())
    changed = await users.update(people[0].id, role="owner")
    assert changed.role == (await users.retrieve(people[0].id)).role == "owner"
    gone = await users.delete(people[1].id)
    assert (gone.id, gone.deleted) == (people[1].id, True)
    with pytest.raises(openai.NotFoundError):
        await users.retrieve(people[1].id)
    assert len([user async for user in users.list()]) == 5


async def test_roles_are_four_and_a_person_has_one(admin: AsyncOpenAI, make_person: MakePerson) -> None:
    organization = admin.admin.organization
    await make_person(role="owner")
    bob = await make_person("bob@example.com")

    roles = [role async for role in organization.roles.list(limit=3)]
    assert [role.name for role in roles] == list(get_args(Role))
    assert [role.name async for role in organization.roles.list(order="desc")] == list(get_args(Role))[::-1]
    assert [role async for role in organization.roles.list(limit=0)] == []
    assert all(role.predefined_role for role in roles)
    viewer = await organization.roles.retrieve("role_viewer")
    assert viewer.permissions == ["organization.read"]
    assigned = await organization.users.roles.create(bob.id, role_id="role_admin")
    assert (assigned.role.name, assigned.user.role, assigned.object) == ("admin", "admin", "user.role")
    assert [role.name async for role in organization.users.roles.list(bob.id)] == ["admin"]
    assert (await organization.users.roles.retrieve("role_admin", user_id=bob.id)).name == "admin"
    for call in (
        organization.users.roles.retrieve("role_viewer", user_id=bob.id),
        organization.users.roles.delete("role_viewer", user_id=bob.id),
        organization.users.roles.create(bob.id, role_id="role_emperor"),
        organization.roles.retrieve("role_emperor"),
    ):
        with pytest.raises(openai.NotFoundError):
            await call
    assert (await organization.users.roles.delete("role_admin", user_id=bob.id)).deleted
    assert (await organization.users.retrieve(bob.id)).role == "reader"
    assert (await organization.users.update(bob.id, role_id="role_viewer")).role == "viewer"


OTHER_CHANGES: list[Any] = [
    ({}, "role"),
    ({"role": "emperor"}, "role"),
    ({"role": None}, "role"),
    ({"role_id": "role_emperor"}, "role_id"),
    ({"role": "viewer", "role_id": "role_viewer"}, "role_id"),
    ({"role": "viewer", "email": "other@example.com"}, "email"),
    ({"role": "viewer", "id": "user_1"}, "id"),
    ({"role": "viewer", "password_digest": "x"}, "password_digest"),
    ({"role": "viewer", "disabled_at": None}, "disabled_at"),
    ({"role": "viewer", "technical_level": "high"}, "technical_level"),
]


async def test_nothing_but_the_role_can_be_changed(weir: RunningWeir, make_person: MakePerson) -> None:
    bob = await make_person("bob@example.com")

    for body, param in OTHER_CHANGES:
        answer = await ask(weir, weir.admin_key, "POST", f"/{bob.id}", body)

        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        assert [tuple(row) for row in await weir.sql("SELECT email, role FROM users")] == [
            ("bob@example.com", "member")
        ]


QUESTIONS: list[Any] = [
    ("?limit=0", 400),
    ("?limit=-1", 400),
    ("?limit=101", 400),
    ("?limit=99999999999999999999", 400),
    ("?after=user_unknown", 400),
    ("?after=%00", 400),
    ("?order=up", 400),
    ("?email=ada@example.com", 400),
    ("?emails[]=%25", 400),
    ("?emails[]=a%0A@example.com", 400),
    ("?emails[]=%25@example.com", 200),
    ("?emails[]=ad_@example.com", 200),
]


async def test_questions_that_make_no_sense_are_refused_and_wildcards_match_nobody(
    weir: RunningWeir, make_person: MakePerson
) -> None:
    await make_person()

    for query, status in QUESTIONS:
        answer = await ask(weir, weir.admin_key, "GET", query)

        assert answer.status_code == status
        assert status == 400 or answer.json()["data"] == []


async def test_fields_that_openai_has_may_be_null(weir: RunningWeir, make_person: MakePerson) -> None:
    bob = await make_person("bob@example.com")
    body = {"role": "viewer", "role_id": None, "technical_level": None, "developer_persona": None}

    assert (await ask(weir, weir.admin_key, "POST", f"/{bob.id}", body)).json()["role"] == "viewer"


async def test_people_can_be_deleted_while_they_are_listed_page_by_page(
    admin: AsyncOpenAI, make_person: MakePerson
) -> None:
    users = admin.admin.organization.users
    for number in range(5):
        await make_person(f"person-{number}@example.com")

    async for user in users.list(limit=2):
        await users.delete(user.id)

    assert (await users.list()).data == []


NOBODIES: list[Any] = ["user_unknown", "%00", "' OR 1=1 --", "x" * 300]


async def test_nobody_answers_404_or_says_what_is_wrong(weir: RunningWeir) -> None:
    for user_id in NOBODIES:
        for method, body in (("GET", None), ("POST", {"role": "viewer"}), ("DELETE", None)):
            assert (await ask(weir, weir.admin_key, method, f"/{user_id}", body)).status_code in (400, 404)


async def test_the_last_owner_stays(weir: RunningWeir, sign_in: SignIn, make_person: MakePerson) -> None:
    ada = await sign_in(role="owner")
    for token in (weir.admin_key, ada.access_token):
        for method, body in (("POST", {"role": "admin"}), ("DELETE", None)):
            answer = await ask(weir, token, method, f"/{ada.user.id}", body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "last_owner")
    assert (await ask(weir, ada.access_token, "POST", f"/{ada.user.id}", {"role": "owner"})).status_code == 200

    await make_person("bob@example.com", "owner")
    assert (await ask(weir, ada.access_token, "POST", f"/{ada.user.id}", {"role": "admin"})).status_code == 200


async def test_of_two_owners_who_unmake_each_other_at_once_one_remains(weir: RunningWeir, sign_in: SignIn) -> None:
    for number in range(5):
        pair = [await sign_in(f"{name}-{number}@example.com", "owner") for name in ("ada", "bob")]
        await weir.sql("UPDATE users SET role = 'member' WHERE id <> ALL($1)", [person.user.id for person in pair])

        answers = await asyncio.gather(
            *(
                ask(weir, me.access_token, "POST", f"/{you.user.id}", {"role": "member"})
                for me, you in (pair, pair[::-1])
            )
        )

        assert 200 in {answer.status_code for answer in answers} <= {200, 403, 409}
        assert len(await weir.sql("SELECT id FROM users WHERE role = 'owner'")) == 1


async def test_only_owners_make_and_unmake_owners(weir: RunningWeir, sign_in: SignIn) -> None:
    owner, second = await sign_in(role="owner"), await sign_in("second@example.com", "owner")
    boss, bob = await sign_in("boss@example.com", "admin"), await sign_in("bob@example.com")

    for person, role in ((boss, "owner"), (bob, "owner"), (owner, "admin")):
        answer = await ask(weir, boss.access_token, "POST", f"/{person.user.id}", {"role": role})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_permissions")
    assert (await ask(weir, boss.access_token, "DELETE", f"/{second.user.id}")).status_code == 403
    assert (await ask(weir, boss.access_token, "POST", f"/{bob.user.id}", {"role": "admin"})).status_code == 200
    assert (await ask(weir, owner.access_token, "POST", f"/{boss.user.id}", {"role": "owner"})).status_code == 200
    assert (await ask(weir, owner.access_token, "DELETE", f"/{second.user.id}")).status_code == 200


@pytest.mark.parametrize("role", ["member", "viewer"])
async def test_who_may_not_change_the_organization_changes_nobody(
    weir: RunningWeir, sign_in: SignIn, role: Role
) -> None:
    me, bob = await sign_in(role=role), await sign_in("bob@example.com")

    for person in (me, bob):
        for method, body in (("POST", {"role": "admin"}), ("DELETE", None)):
            assert (await ask(weir, me.access_token, method, f"/{person.user.id}", body)).status_code == 403
    assert (await ask(weir, me.access_token, "GET")).status_code == (200 if role == "viewer" else 403)


def test_nobody_gets_more_rights_out_of_a_change_than_they_have() -> None:
    roles: tuple[Role, ...] = get_args(Role)
    for editor in (None, *roles):
        rights: frozenset[str] = ORGANIZATION_RIGHTS[editor] if editor else frozenset()
        for before in roles:
            for after in roles:
                try:
                    require_may_assign(editor, before, after)
                except Forbidden:
                    assert "own" not in rights
                else:
                    gained = ORGANIZATION_RIGHTS[after] - ORGANIZATION_RIGHTS[before]
                    assert "own" not in gained or "own" in rights
                    assert "write" not in rights or gained <= rights  # who may change nothing gets no further


async def test_a_changed_role_counts_at_once_and_in_other_processes(
    start_weir: StartWeir, weir: RunningWeir, sign_in: SignIn
) -> None:
    other = await start_weir({})
    boss = await sign_in(role="admin")
    for running in (weir, other):
        assert (await ask(running, boss.access_token, "GET")).status_code == 200

    assert (await ask(weir, weir.admin_key, "POST", f"/{boss.user.id}", {"role": "reader"})).status_code == 200

    assert (await ask(weir, boss.access_token, "GET")).status_code == 403

    async def is_heard() -> bool:
        return (await ask(other, boss.access_token, "GET")).status_code == 403

    await until(is_heard)


async def test_who_is_deleted_is_out_with_all_sessions_keys_and_projects(
    start_weir: StartWeir, weir: RunningWeir, sign_in: SignIn
) -> None:
    other = await start_weir({})
    bob = await sign_in("bob@example.com", proj_default="member")
    key = await weir.wiring.keys.create("api", "Bob's", project_id=DEFAULT_PROJECT_ID, user_id=bob.user.id)
    for running in (weir, other):
        for token in (bob.access_token, key.value):
            async with running.http(token) as client:
                assert (await client.get("/v1/models")).status_code == 200

    assert (await ask(weir, weir.admin_key, "DELETE", f"/{bob.user.id}")).status_code == 200

    async def is_out() -> bool:
        statuses = set()
        for running in (weir, other):
            for token in (bob.access_token, key.value):
                async with running.http(token) as client:
                    statuses.add((await client.get("/v1/models")).status_code)
        return statuses == {401}

    await until(is_out)
    assert await weir.sql("SELECT * FROM project_members WHERE user_id = $1", bob.user.id) == []
    assert (await ask(weir, weir.admin_key, "DELETE", f"/{bob.user.id}")).status_code == 404
    events = await weir.sql(
        "SELECT event FROM audit_entries WHERE resource_id = $1 AND project_id IS NULL", bob.user.id
    )
    assert [event for (event,) in events] == ["user.deleted"]


async def test_an_address_is_free_again_once_its_person_is_deleted(weir: RunningWeir, make_person: MakePerson) -> None:
    first = await make_person()
    await ask(weir, weir.admin_key, "DELETE", f"/{first.id}")

    assert (await make_person()).id != first.id


async def test_a_change_for_another_version_is_refused(weir: RunningWeir, make_person: MakePerson) -> None:
    bob = await make_person("bob@example.com")
    shown = await ask(weir, weir.admin_key, "GET", f"/{bob.id}")
    tag = shown.headers["etag"]
    assert (await ask(weir, weir.admin_key, "GET", f"/{bob.id}", if_none_match=tag)).status_code == 304

    first = await ask(weir, weir.admin_key, "POST", f"/{bob.id}", {"role": "viewer"}, if_match=tag)
    second = await ask(weir, weir.admin_key, "POST", f"/{bob.id}", {"role": "admin"}, if_match=tag)
    third = await ask(weir, weir.admin_key, "DELETE", f"/{bob.id}", if_match=tag)

    assert [answer.status_code for answer in (first, second, third)] == [200, 412, 412]
    assert second.json()["error"]["code"] == "precondition_failed"
    assert (await ask(weir, weir.admin_key, "GET", f"/{bob.id}")).json()["role"] == "viewer"


async def test_a_key_is_told_that_it_is_nobody(weir: RunningWeir) -> None:
    for key in (weir.api_key, weir.admin_key):
        async with weir.http(key) as client:
            for path in ("sign-out", "sign-out-everywhere", "password"):
                answer = await client.post(f"/v1/gateway/auth/{path}", json={})
                assert answer.status_code == 403
            assert (await client.get("/v1/gateway/auth/me")).status_code == 403


def test_of_several_roles_in_a_project_the_one_that_allows_most_counts() -> None:
    roles: tuple[Role, ...] = get_args(Role)
    for one in roles:
        for other in roles:
            both = merged({"a": one, "b": one}, {"a": other})
            assert both["b"] == one
            assert PROJECT_RIGHTS[both["a"]] == PROJECT_RIGHTS[one] | PROJECT_RIGHTS[other]


async def test_two_people_of_one_address_cannot_be_made_even_at_once(weir: RunningWeir) -> None:
    users = weir.wiring.people.users
    made = await asyncio.gather(
        *(users.add(NewUser("twin@example.com", "Twin", "member"), {}) for _ in range(4)), return_exceptions=True
    )

    assert sorted(type(each).__name__ for each in made) == ["UserExists"] * 3 + ["UserRecord"]


async def test_whoever_waits_for_a_person_keeps_nobody_from_counting_the_owners(
    weir: RunningWeir, make_person: MakePerson
) -> None:
    ada = await make_person(role="owner")
    await make_person("bob@example.com", "owner")
    async with weir.http(weir.admin_key) as client, weir._connection() as provider:
        async with provider.transaction():  # as a token of the provider does that makes an owner something else
            await provider.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", ada.id)
            changing = asyncio.create_task(client.post(f"/v1/organization/users/{ada.id}", json={"role": "reader"}))
            await until(weir.waits_for_a_lock)
            assert await provider.fetchval("SELECT pg_try_advisory_xact_lock(hashtext('weir.owners'))")
        assert (await changing).status_code == 200
