"""Sessions: what keeps them open, what ends them, and that their end is heard everywhere."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from app.core.clock import utc_now
from app.errors import Unauthenticated
from app.identity.access_tokens import AccessTokens, derive_secret
from app.identity.jwt import InvalidToken
from app.identity.person import NewUser
from app.identity.roles import Role
from app.identity.session_service import SessionService
from app.people import _token_secrets
from app.projects.service import DEFAULT_PROJECT_ID
from app.settings import Settings
from tests.fixtures.servers import PEPPER
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir
from tests.identity.conftest import SignedInPerson, SignIn, events, token_request

ME = "/v1/gateway/auth/me"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


async def status_of(weir: RunningWeir, token: str, path: str = ME) -> int:
    async with weir.http(token) as client:
        return (await client.get(path)).status_code


async def refresh(weir: RunningWeir, token: str) -> tuple[int, Any]:
    answer = await token_request(weir, grant_type="refresh_token", refresh_token=token)
    return answer.status_code, answer.json()


async def test_a_refresh_token_gives_new_tokens_for_the_same_session(weir: RunningWeir, sign_in: SignIn) -> None:
    person = await sign_in()

    status, tokens = await refresh(weir, person.refresh_token)
    again, more = await refresh(weir, tokens["refresh_token"])

    assert (status, again) == (200, 200)
    assert len({person.refresh_token, tokens["refresh_token"], more["refresh_token"]}) == 3
    sessions = set()
    for token in (person.access_token, tokens["access_token"], more["access_token"]):
        async with weir.http(token) as client:
            sessions.add((await client.get(ME)).json()["session_id"])
    assert len(sessions) == 1
    assert await weir.sql("SELECT digest FROM refresh_tokens WHERE digest = $1", person.refresh_token.encode()) == []


async def test_a_refresh_token_that_is_used_again_ends_the_session_for_thief_and_victim(
    weir: RunningWeir, sign_in: SignIn
) -> None:
    person = await sign_in()
    _, tokens = await refresh(weir, person.refresh_token)
    assert await status_of(weir, tokens["access_token"]) == 200

    status, error = await refresh(weir, person.refresh_token)

    assert (status, error["error"]["code"]) == (400, "invalid_grant")
    assert (await refresh(weir, tokens["refresh_token"]))[0] == 400
    assert await status_of(weir, tokens["access_token"]) == 401
    assert await status_of(weir, person.access_token) == 401
    written = await weir.sql("SELECT details->>'error_code' FROM audit_entries WHERE event = 'login.failed'")
    assert [code for (code,) in written] == ["refresh_token_reused"]


async def test_of_two_that_use_a_refresh_token_at_once_one_is_a_thief(weir: RunningWeir, sign_in: SignIn) -> None:
    person = await sign_in()

    answers = await asyncio.gather(*(refresh(weir, person.refresh_token) for _ in range(8)))

    assert sorted(status for status, _ in answers) == [200] + [400] * 7
    (winner,) = [tokens for status, tokens in answers if status == 200]
    assert (await refresh(weir, winner["refresh_token"]))[0] == 400
    assert await status_of(weir, person.access_token) == 401


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE refresh_tokens SET expires_at = now()",
        "UPDATE sessions SET expires_at = now()",
        "UPDATE sessions SET ended_at = now()",
        "UPDATE users SET disabled_at = now()",
    ],
)
async def test_what_has_ended_is_not_refreshed(weir: RunningWeir, sign_in: SignIn, change: str) -> None:
    person = await sign_in()
    await weir.sql(change)

    assert (await refresh(weir, person.refresh_token))[0] == 400


async def test_a_refresh_token_never_outlives_its_session(start_weir: StartWeir, weir: RunningWeir) -> None:
    short = await start_weir({"identity.session_seconds": 600})
    sessions = short.wiring.people.sessions
    users = short.wiring.people.users
    from_now = timedelta(seconds=601)
    user = await users.add(NewUser("short@example.com", "Short", "member"), {DEFAULT_PROJECT_ID: "member"})
    async with sessions._db.transaction() as tx:
        await sessions.open(tx, user)

    ((expires_at, session_expires_at),) = await weir.sql(
        "SELECT refresh_tokens.expires_at, sessions.expires_at FROM refresh_tokens, sessions"
    )
    assert expires_at == session_expires_at < utc_now() + from_now


async def test_signing_out_ends_this_session_and_no_other(weir: RunningWeir, sign_in: SignIn) -> None:
    here = await sign_in()
    sessions = weir.wiring.people.sessions
    async with sessions._db.transaction() as tx:
        there = await sessions.open(tx, here.user)
    async with weir.http(here.access_token) as client:
        assert (await client.post("/v1/gateway/auth/sign-out")).json() == {"done": True}
        assert (await client.post("/v1/gateway/auth/sign-out")).status_code == 401

    assert await status_of(weir, there.access_token) == 200
    assert (await refresh(weir, here.refresh_token))[0] == 400
    event, user_id, email, address, _ = (await events(weir))[-1]
    assert (event, user_id, email, address) == ("logout.succeeded", here.user.id, here.user.email, "127.0.0.1")


async def test_signing_out_everywhere_ends_all_sessions_of_this_person_only(weir: RunningWeir, sign_in: SignIn) -> None:
    ada, bob = await sign_in(), await sign_in("bob@example.com")
    sessions = weir.wiring.people.sessions
    async with sessions._db.transaction() as tx:
        more = await sessions.open(tx, ada.user)
    assert await status_of(weir, more.access_token) == 200
    async with weir.http(ada.access_token) as client:
        assert (await client.post("/v1/gateway/auth/sign-out-everywhere")).status_code == 200

    for token in (ada.access_token, more.access_token):
        assert await status_of(weir, token) == 401
    assert (await refresh(weir, more.refresh_token))[0] == 400
    assert await status_of(weir, bob.access_token) == 200


@pytest.mark.parametrize("path", ["sign-out", "sign-out-everywhere"])
async def test_an_end_is_heard_by_other_processes(
    start_weir: StartWeir, weir: RunningWeir, sign_in: SignIn, path: str
) -> None:
    other = await start_weir({})
    person = await sign_in()
    assert await status_of(other, person.access_token) == 200
    async with weir.http(person.access_token) as client:
        await client.post(f"/v1/gateway/auth/{path}")

    async def is_refused() -> bool:
        return await status_of(other, person.access_token) == 401

    await until(is_refused)


async def test_a_session_that_is_known_costs_no_statement(weir: RunningWeir, sign_in: SignIn) -> None:
    person = await sign_in()
    sessions = weir.wiring.people.sessions
    first = await sessions.authenticate(person.access_token)
    await weir.sql("UPDATE sessions SET ended_at = now()")  # nobody was told

    assert await sessions.authenticate(person.access_token) == first
    sessions.forget("")
    with pytest.raises(Unauthenticated):
        await sessions.authenticate(person.access_token)


async def test_only_what_is_meant_is_forgotten(weir: RunningWeir, sign_in: SignIn) -> None:
    ada, bob = await sign_in(), await sign_in("bob@example.com")
    sessions = weir.wiring.people.sessions
    known = {person.user.id: await sessions.authenticate(person.access_token) for person in (ada, bob)}
    await weir.sql("UPDATE sessions SET ended_at = now()")

    sessions.forget(ada.user.id)
    with pytest.raises(Unauthenticated):
        await sessions.authenticate(ada.access_token)
    assert await sessions.authenticate(bob.access_token) == known[bob.user.id]
    sessions.forget(known[bob.user.id].session_id)
    with pytest.raises(Unauthenticated):
        await sessions.authenticate(bob.access_token)
    sessions.forget("sess_unknown")  # one that was ended is remembered too


async def test_an_access_token_ends_with_its_session_and_by_itself(weir: RunningWeir, sign_in: SignIn) -> None:
    person = await sign_in()
    moments = {"now": utc_now()}
    settings = weir.settings.identity.model_copy(update={"session_seconds": 600})
    tokens = AccessTokens([b"x" * 32], 3_600)
    sessions = SessionService(weir.wiring.people.sessions._db, tokens, settings, lambda: moments["now"])
    async with sessions._db.transaction() as tx:
        access_token = (await sessions.open(tx, person.user)).access_token
    assert (await sessions.authenticate(access_token)).user_id == person.user.id

    moments["now"] += timedelta(seconds=600)
    with pytest.raises(Unauthenticated):
        await sessions.authenticate(access_token)
    moments["now"] += timedelta(seconds=3_600)
    with pytest.raises(Unauthenticated):
        await sessions.authenticate(access_token)


async def test_me_says_who_i_am_and_what_i_may_call(weir: RunningWeir, sign_in: SignIn) -> None:
    await weir.sql("INSERT INTO projects (id, name) VALUES ('proj_b', 'B'), ('proj_c', 'C')")
    person = await sign_in(role="viewer", proj_default="viewer", proj_b="member", proj_c="owner")
    async with weir.http(person.access_token) as client:
        plain = (await client.get(ME)).json()
        named = (await client.get(ME, headers={"openai-project": "proj_c"})).json()
        shut = (await client.get(ME, headers={"openai-project": "proj_default"})).json()
    assert plain["email"] == "ada@example.com"
    assert plain["role"] == "viewer"
    assert plain["projects"] == {"proj_default": "viewer", "proj_b": "member", "proj_c": "owner"}
    assert (plain["project_id"], named["project_id"], shut["project_id"]) == (None, "proj_c", None)


async def _call(weir: RunningWeir, person: SignedInPerson, project: str | None) -> tuple[int, Any]:
    headers = {} if project is None else {"openai-project": project}
    body = {"model": "sim-small", "messages": [{"role": "user", "content": "Hi"}]}
    async with weir.http(person.access_token) as client:
        answer = await client.post("/v1/chat/completions", json=body, headers=headers)
    return answer.status_code, answer.json().get("error", {})


async def test_the_header_openai_project_says_who_pays(weir: RunningWeir, sign_in: SignIn) -> None:
    await weir.sql("INSERT INTO projects (id, name) VALUES ('proj_b', 'B'), ('proj_c', 'C')")
    person = await sign_in(proj_default="viewer", proj_b="member", proj_c="admin")

    assert (await _call(weir, person, "proj_c"))[0] == 200
    for project in (None, "proj_default", "proj_unknown", "", "proj_b,proj_c"):
        status, error = await _call(weir, person, project)
        assert (status, error["code"], error["param"]) == (403, "insufficient_permissions", "OpenAI-Project")
        assert "OpenAI-Project" in error["message"]
    await weir.wiring.ledger.drain()
    assert [tuple(row) for row in await weir.sql("SELECT project_id FROM ledger_entries")] == [("proj_c",)]


@pytest.mark.parametrize("role", ["owner", "admin", "viewer"])
async def test_who_is_only_in_the_organization_pays_for_no_calls(
    weir: RunningWeir, sign_in: SignIn, role: Role
) -> None:
    person = await sign_in(role=role)

    assert (await _call(weir, person, DEFAULT_PROJECT_ID))[0] == 403
    assert weir.arrivals == []


async def test_a_project_that_is_archived_takes_no_calls(weir: RunningWeir, sign_in: SignIn) -> None:
    await weir.sql("INSERT INTO projects (id, name, archived_at) VALUES ('proj_b', 'B', now())")
    person = await sign_in(proj_b="owner")

    assert (await _call(weir, person, "proj_b"))[0] == 403


def test_a_secret_can_be_replaced_while_tokens_of_the_old_one_live_on() -> None:
    old, new = AccessTokens([b"o" * 32], 600), AccessTokens([b"n" * 32, b"o" * 32], 600)

    assert new.read(old.issue("sess_1", "user_1", NOW), NOW) == "sess_1"
    assert AccessTokens([b"n" * 32], 600).read(new.issue("sess_2", "user_1", NOW), NOW) == "sess_2"
    with pytest.raises(InvalidToken):
        AccessTokens([b"n" * 32], 600).read(old.issue("sess_1", "user_1", NOW), NOW)
    with pytest.raises(InvalidToken):
        new.read(new.issue(None, "user_1", NOW), NOW)  # type: ignore[arg-type]


def test_secrets_are_the_given_ones_or_made_from_the_peppers(settings: Settings) -> None:
    former = "p" * 32
    keys = settings.keys.model_copy(update={"previous_peppers": (SecretStr(former),)})
    derived = _token_secrets(settings.model_copy(update={"keys": keys}))
    given = settings.identity.model_copy(
        update={"token_secret": SecretStr("s" * 32), "previous_token_secrets": (SecretStr("t" * 32),)}
    )

    assert derived == [derive_secret(PEPPER.encode()), derive_secret(former.encode())]
    assert PEPPER.encode() not in derived[0]
    assert len(set(derived)) == 2
    assert _token_secrets(settings.model_copy(update={"identity": given})) == [b"s" * 32, b"t" * 32]


def test_a_public_key_as_a_secret_is_refused_before_anybody_signs_in(settings: Settings) -> None:
    public_key = SecretStr("-----BEGIN PUBLIC KEY-----" + "A" * 32)
    given = settings.identity.model_copy(update={"token_secret": public_key})
    with pytest.raises(ValueError, match="asymmetric key"):
        _token_secrets(settings.model_copy(update={"identity": given}))
