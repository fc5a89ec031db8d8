"""Invites, with the official SDK: made by those who may, accepted once, and never for more than they say."""

import asyncio
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.weir import RunningWeir
from tests.identity.conftest import PASSWORD, MakePerson, SignIn, password_request

PATH = "/v1/organization/invites"


async def invite(weir: RunningWeir, token: str | None = None, **body: Any) -> httpx.Response:
    async with weir.http(token or weir.admin_key) as client:
        return await client.post(PATH, json={"email": "ada@example.com", "role": "reader", **body})


async def accept(weir: RunningWeir, token: str, **body: Any) -> httpx.Response:
    async with weir.http("") as client:
        content = {"token": token, "name": "Ada Lovelace", "password": PASSWORD, **body}
        return await client.post("/v1/gateway/auth/invites/accept", json=content)


async def test_the_sdk_invites_lists_shows_and_deletes(weir: RunningWeir, admin: AsyncOpenAI) -> None:
    invites = admin.admin.organization.invites

    made = [await invites.create(email=f"Person-{number}@Example.com", role="reader") for number in range(3)]
    owner = await invites.create(email="boss@example.com", role="owner", projects=[])

    assert (made[0].email, made[0].role, made[0].status) == ("person-0@example.com", "reader", "pending")
    assert made[0].expires_at is not None
    assert made[0].expires_at - made[0].created_at == weir.settings.identity.invite_seconds
    assert [(project.id, project.role) for project in made[0].projects] == [(DEFAULT_PROJECT_ID, "member")]
    assert (owner.role, owner.projects) == ("owner", [])
    assert [each.id async for each in invites.list(limit=1)] == [each.id for each in (*made, owner)]
    assert (await invites.retrieve(owner.id)).email == "boss@example.com"
    assert (await invites.delete(made[1].id)).deleted
    for call in (invites.retrieve(made[1].id), invites.delete(made[1].id), invites.retrieve("invite_unknown")):
        with pytest.raises(openai.NotFoundError):
            await call


async def test_the_token_is_shown_once(weir: RunningWeir) -> None:
    sent = (await invite(weir)).json()
    async with weir.http(weir.admin_key) as client:
        later = [await client.get(PATH), await client.get(f"{PATH}/{sent['id']}")]

    assert sent["token"].startswith("wi-")
    everything = "".join(answer.text for answer in later)
    everything += str(await weir.sql("SELECT invites::text, audit_entries::text FROM invites, audit_entries"))
    assert sent["token"][3:] not in everything


async def test_who_accepts_becomes_what_the_invite_says_and_is_signed_in(weir: RunningWeir) -> None:
    await weir.sql("INSERT INTO projects (id, name) VALUES ('proj_b', 'B'), ('proj_gone', 'Gone')")
    projects = [{"id": name, "role": "viewer"} for name in ("proj_b", "proj_gone")]
    sent = (await invite(weir, role="admin", projects=projects)).json()
    await weir.sql("UPDATE projects SET archived_at = now() WHERE id = 'proj_gone'")

    answer = await accept(weir, sent["token"])

    assert answer.status_code == 200
    async with weir.http(answer.json()["access_token"]) as client:
        me = (await client.get("/v1/gateway/auth/me")).json()
    assert (me["email"], me["name"], me["role"]) == ("ada@example.com", "Ada Lovelace", "admin")
    assert me["projects"] == {"proj_b": "viewer"}
    assert (await password_request(weir, "ada@example.com")).status_code == 200
    async with weir.http(weir.admin_key) as client:
        shown = (await client.get(f"{PATH}/{sent['id']}")).json()
        deleted = await client.delete(f"{PATH}/{sent['id']}")
    assert shown["status"] == "accepted"
    assert shown["accepted_at"] is not None
    assert (deleted.status_code, deleted.json()["error"]["code"]) == (409, "invite_accepted")
    written = await weir.sql(
        "SELECT event, address FROM audit_entries WHERE event NOT LIKE 'api_key%' ORDER BY position"
    )
    kinds = ["invite.sent", "user.added", "user.added", "invite.accepted", "login.succeeded", "login.succeeded"]
    assert [event for event, _ in written] == kinds
    assert {address for _, address in written} == {"127.0.0.1"}


async def test_an_invite_is_good_once(weir: RunningWeir) -> None:
    token = (await invite(weir)).json()["token"]

    answers = await asyncio.gather(*(accept(weir, token) for _ in range(4)))

    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    assert len(await weir.sql("SELECT id FROM users")) == 1


async def test_unknown_deleted_expired_and_accepted_invites_get_one_answer(weir: RunningWeir) -> None:
    deleted, expired, accepted = [(await invite(weir, email=f"{name}@example.com")).json() for name in "dea"]
    async with weir.http(weir.admin_key) as client:
        await client.delete(f"{PATH}/{deleted['id']}")
        await weir.sql("UPDATE invites SET expires_at = now() WHERE id = $1", expired["id"])
        assert (await client.get(f"{PATH}/{expired['id']}")).json()["status"] == "expired"
    assert (await accept(weir, accepted["token"])).status_code == 200

    answers = [await accept(weir, token) for token in (*(each["token"] for each in (deleted, expired, accepted)), "x")]

    assert {answer.status_code for answer in answers} == {400}
    assert {answer.json()["error"]["code"] for answer in answers} == {"invalid_invite"}
    assert len({answer.text for answer in answers}) == 1


async def test_an_address_that_is_somebody_s_is_not_invited_and_not_taken(
    weir: RunningWeir, make_person: MakePerson
) -> None:
    first, second = [(await invite(weir)).json() for _ in range(2)]
    assert (await accept(weir, first["token"])).status_code == 200

    for answer in (
        await accept(weir, second["token"]),
        await invite(weir),
        await invite(weir, email="ADA@EXAMPLE.COM"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "user_exists")
    assert len(await weir.sql("SELECT id FROM users")) == 1
    assert len(await weir.sql("SELECT id FROM sessions")) == 1


IMPOSSIBLE_ACCEPTANCES: list[Any] = [
    ({"role": "owner"}, "role"),
    ({"email": "boss@example.com"}, "email"),
    ({"projects": [{"id": "proj_default", "role": "owner"}]}, "projects"),
    ({"name": ""}, "name"),
    ({"name": "  "}, "name"),
    ({"name": "Ada\x00"}, "name"),
    ({"name": "Ada\nLovelace"}, "name"),
    ({"name": "Ada\u202eecalevoL"}, "name"),
    ({"name": "x" * 201}, "name"),
    ({"password": "short"}, "password"),
    ({"password": "ﬁ" * 5}, "password"),  # ten letters at last
    ({"password": "x" * 200_000}, "password"),
    ({"password": ["x" * 20]}, "password"),
    ({"token": ""}, "token"),
    ({"token": "x" * 200}, "token"),
]


async def test_who_accepts_chooses_a_name_and_a_password_and_nothing_else(weir: RunningWeir) -> None:
    token = (await invite(weir)).json()["token"]

    for body, param in IMPOSSIBLE_ACCEPTANCES:
        answer = await accept(weir, **{"token": token, **body})

        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        assert await weir.sql("SELECT id FROM users") == []
    assert (await accept(weir, token)).status_code == 200


IMPOSSIBLE_INVITES: list[Any] = [
    ({"email": "no address"}, "email"),
    ({"email": "a@b@c"}, "email"),
    ({"email": "a\x00@example.com"}, "email"),
    ({"email": "a\r\nBcc: b@example.com"}, "email"),
    ({"email": "ädä@example.com"}, "email"),
    ({"email": "a" * 255 + "@example.com"}, "email"),
    ({"role": "emperor"}, "role"),
    ({"projects": [{"id": "proj_unknown", "role": "member"}]}, "projects"),
    ({"projects": [{"id": "proj_\x00", "role": "member"}]}, "projects[0].id"),
    ({"projects": [{"id": "proj_default", "role": "emperor"}]}, "projects[0].role"),
    ({"projects": [{"id": "proj_default", "role": "member"}] * 101}, "projects"),
    ({"status": "accepted"}, "status"),
    ({"accepted_at": 1}, "accepted_at"),
]


async def test_an_invite_that_cannot_be_is_refused(weir: RunningWeir) -> None:
    for body, param in IMPOSSIBLE_INVITES:
        answer = await invite(weir, **body)

        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        assert await weir.sql("SELECT id FROM invites") == []


async def test_only_an_owner_invites_owners(weir: RunningWeir, sign_in: SignIn) -> None:
    owner, boss = await sign_in("owner@example.com", "owner"), await sign_in("boss@example.com", "admin")
    viewer = await sign_in("viewer@example.com", "viewer")

    assert (await invite(weir, boss.access_token, role="owner")).status_code == 403
    assert (await invite(weir, boss.access_token, role="admin")).status_code == 200
    assert (await invite(weir, owner.access_token, role="owner")).status_code == 200
    assert (await invite(weir, viewer.access_token)).status_code == 403
    assert (await invite(weir, weir.api_key)).status_code == 403


async def test_a_viewer_is_invited_to_look_on(weir: RunningWeir) -> None:
    assert (await invite(weir, role="viewer")).json()["projects"] == [{"id": DEFAULT_PROJECT_ID, "role": "viewer"}]


async def test_a_cursor_that_is_no_invite_is_refused(weir: RunningWeir) -> None:
    async with weir.http(weir.admin_key) as client:
        for query in ("after=invite_unknown", "after=%00", "limit=0", "limit=1000", "page=2"):
            assert (await client.get(f"{PATH}?{query}")).status_code == 400


async def test_an_older_invite_does_not_bring_back_who_was_deleted(weir: RunningWeir, admin: AsyncOpenAI) -> None:
    older, newer = [(await invite(weir, role=role)).json() for role in ("admin", "reader")]
    other = (await invite(weir, email="bob@example.com")).json()
    assert (await accept(weir, newer["token"])).status_code == 200
    organization = admin.admin.organization
    user = (await organization.users.list()).data[0]
    await organization.users.delete(user.id)

    answer = await accept(weir, older["token"])

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_invite")
    assert [each.id async for each in organization.invites.list()] == [newer["id"], other["id"]]
    deleted = await weir.sql("SELECT resource_id FROM audit_entries WHERE event = 'invite.deleted'")
    assert [invite_id for (invite_id,) in deleted] == [older["id"]]
    assert (await accept(weir, (await invite(weir)).json()["token"])).status_code == 200
