"""Signing in with a password: who gets in, and what everybody else learns, which is always the same."""

import asyncio
import json
import os
import re
import unicodedata
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.identity.password_service import _PENDING_MAX
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir
from tests.identity.conftest import PASSWORD, MakePerson, SignIn, events, password_request, token_request

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "people.md").read_text(encoding="utf-8")
REFUSAL = {
    "error": {
        "message": "This does not let you in: the e-mail, the password or the refresh token is not right.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_grant",
    }
}


async def test_who_signs_in_can_call_with_the_access_token_in_the_place_of_a_key(
    weir: RunningWeir, make_person: MakePerson
) -> None:
    user = await make_person(proj_default="member")

    answer = await password_request(weir, " Ada@Example.com")

    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    assert (tokens["token_type"], tokens["expires_in"]) == ("bearer", 600)
    assert answer.headers["cache-control"] == "no-store"
    async with weir.openai(api_key=tokens["access_token"]) as client:
        completion = await client.chat.completions.create(
            model="sim-small", messages=[{"role": "user", "content": "Hi"}]
        )
    assert completion.choices
    await weir.wiring.ledger.drain()
    ((entry_user, project_id, key_id),) = await weir.sql("SELECT user_id, project_id, key_id FROM ledger_entries")
    assert (entry_user, project_id) == (user.id, "proj_default")
    assert key_id.startswith("sess_")
    event, actor_user, email, address, session_id = (await events(weir))[-1]
    assert (event, actor_user, email) == ("login.succeeded", user.id, user.email)
    assert (address, session_id) == ("127.0.0.1", key_id)


async def test_unknown_and_wrong_and_deleted_get_one_answer_and_are_written_down(
    weir: RunningWeir, make_person: MakePerson
) -> None:
    ada, gone = await make_person(), await make_person("gone@example.com")
    no_password = await make_person("other@example.com")
    await weir.sql("UPDATE users SET disabled_at = now() WHERE id = $1", gone.id)
    await weir.sql("UPDATE users SET password_digest = NULL WHERE id = $1", no_password.id)

    answers = [
        await password_request(weir, "ada@example.com", PASSWORD + "!"),
        await password_request(weir, "ada@example.com", PASSWORD.upper()),
        await password_request(weir, "nobody@example.com"),
        await password_request(weir, "gone@example.com"),
        await password_request(weir, "other@example.com"),
        await token_request(weir, grant_type="refresh_token", refresh_token="wr-nothing"),
    ]

    assert [answer.status_code for answer in answers] == [400] * 6
    assert all(answer.json() == REFUSAL for answer in answers)
    written = await weir.sql(
        "SELECT resource_id, details::text, address, actor_kind FROM audit_entries WHERE event = 'login.failed' "
        "ORDER BY position"
    )
    assert [row[0] for row in written] == [ada.id, ada.id, None, None, no_password.id]
    assert orjson.loads(written[2][1]) == {"email": "nobody@example.com", "error_code": "invalid_grant"}
    assert {tuple(row[2:]) for row in written} == {("127.0.0.1", "session")}
    assert PASSWORD not in str(written)


IMPOSSIBLE_FORMS: list[Any] = [
    ({}, "grant_type", "missing_required_parameter"),
    ({"grant_type": "client_credentials"}, "grant_type", "unsupported_grant_type"),
    ({"grant_type": "x" * 100}, "grant_type", "invalid_value"),
    ({"grant_type": "password"}, "username", "missing_required_parameter"),
    ({"grant_type": "password", "username": "ada@example.com"}, "password", "missing_required_parameter"),
    ({"grant_type": "refresh_token"}, "refresh_token", "missing_required_parameter"),
    ({"grant_type": "refresh_token", "refresh_token": "x" * 1_000}, "refresh_token", "invalid_value"),
    ({"grant_type": "password", "username": "ada"}, "username", "invalid_value"),
    ({"grant_type": "password", "username": "ada@example.com\x00"}, "username", "invalid_value"),
    ({"grant_type": "password", "username": "a\r\nb@example.com"}, "username", "invalid_value"),
    ({"grant_type": "password", "username": "ädä@example.com"}, "username", "invalid_value"),
    ({"grant_type": "password", "username": "a" * 250 + "@example.com"}, "username", "invalid_value"),
    ({"grant_type": "password", "username": "a@b", "password": "x" * 257}, "password", "invalid_value"),
]


async def test_what_is_missing_or_cannot_be_is_named(weir: RunningWeir) -> None:
    for form, param, code in IMPOSSIBLE_FORMS:
        answer = await token_request(weir, **form)

        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["param"], error["code"]) == (param, code)
        assert await weir.sql("SELECT * FROM sign_in_attempts") == []


async def test_a_password_of_many_kilobytes_is_refused_before_it_is_hashed(weir: RunningWeir) -> None:
    for size, status in ((200_000, 400), (5_000_000, 413)):
        answer = await password_request(weir, "ada@example.com", "x" * size)

        assert answer.status_code == status
        assert "xxxx" not in answer.text


async def test_wildcards_are_letters_like_others(weir: RunningWeir, make_person: MakePerson) -> None:
    await make_person()

    for email in ("%@example.com", "ad_@example.com", "ada@%", "*@*"):
        assert (await password_request(weir, email)).json() == REFUSAL


async def test_swagger_s_authorize_button_gets_tokens_too(weir: RunningWeir, make_person: MakePerson) -> None:
    await make_person()
    async with weir.http("") as client:
        description = (await client.get("/openapi.json")).json()
        scheme = description["components"]["securitySchemes"]["WeirSignIn"]
        # As Swagger UI sends it: fields that it left empty, and a client without a name.
        form = {"grant_type": "password", "username": "ada@example.com", "password": PASSWORD, "scope": ""}
        answer = await client.post(
            scheme["flows"]["password"]["tokenUrl"],
            data={**form, "client_id": "", "client_secret": ""},
            headers={"authorization": "Basic Og=="},
        )
    assert answer.status_code == 200
    secured = description["paths"]["/v1/chat/completions"]["post"]["security"]
    assert {name for each in secured for name in each} == {"WeirKey", "WeirSignIn"}
    assert all(len(each) == 1 for each in secured)  # either is enough


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
async def test_a_password_is_the_same_however_its_letters_are_composed(weir: RunningWeir, form: Any) -> None:
    users, sign_in = weir.wiring.people.users, weir.wiring.people.sign_in
    digest = await users.digest("Ünïcode ﬁne Ⅷ pässwörd")

    assert await sign_in._passwords.is_right(unicodedata.normalize(form, "Ünïcode ﬁne Ⅷ pässwörd"), digest)
    assert not await sign_in._passwords.is_right("Unicode fine VIII password", digest)


async def test_a_password_may_have_any_character(weir: RunningWeir) -> None:
    users, passwords = weir.wiring.people.users, weir.wiring.people.sign_in._passwords

    for password in ("with\x00a NUL inside", "\x7f\n\t control chars", "🐎🔋📎" * 4, " leading and trailing "):
        assert await passwords.is_right(password, await users.digest(password))
        assert not await passwords.is_right(password + "x", await users.digest(password))


async def test_an_account_is_closed_for_a_while_after_too_many_attempts_whether_it_exists_or_not(
    start_weir: StartWeir, weir: RunningWeir, make_person: MakePerson
) -> None:
    throttled = await start_weir({"identity.attempts_per_account": 2})
    await make_person()

    for email in ("ada@example.com", "nobody@example.com"):
        for _ in range(2):
            assert (await password_request(throttled, email, "wrong")).json() == REFUSAL
        for _ in range(2):
            answer = await password_request(throttled, email)  # even with the right password
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_sign_ins")
            assert 0 < int(answer.headers["retry-after"]) <= 301
    codes = await weir.sql(
        "SELECT details->>'error_code' FROM audit_entries WHERE event = 'login.failed' ORDER BY position"
    )
    assert [code for (code,) in codes] == ["invalid_grant", "invalid_grant", "too_many_sign_ins"] * 2

    await weir.sql("UPDATE sign_in_attempts SET ends_at = now()")
    assert (await password_request(throttled, "ada@example.com")).status_code == 200


async def test_attempts_at_once_are_counted_before_any_password_is_looked_at(
    start_weir: StartWeir, weir: RunningWeir, make_person: MakePerson
) -> None:
    throttled = await start_weir({"identity.attempts_per_account": 3})
    await make_person()

    answers = await asyncio.gather(*(password_request(throttled, "ada@example.com", "wrong") for _ in range(12)))

    assert sorted(answer.status_code for answer in answers) == [400] * 3 + [429] * 9


async def test_an_address_is_throttled_over_all_accounts_and_who_comes_in_is_not_counted(
    start_weir: StartWeir, weir: RunningWeir, make_person: MakePerson
) -> None:
    throttled = await start_weir({"identity.attempts_per_address": 2})
    await make_person()

    for _ in range(3):
        assert (await password_request(throttled, "ada@example.com")).status_code == 200
    for number, status in enumerate((400, 400, 429)):
        answer = await password_request(throttled, f"nobody-{number}@example.com")
        assert answer.status_code == status


async def test_a_crowd_that_waits_for_the_hashing_is_bounded(weir: RunningWeir) -> None:
    passwords = weir.wiring.people.sign_in._passwords
    passwords._pending = _PENDING_MAX
    try:
        answer = await password_request(weir, "ada@example.com")
    finally:
        passwords._pending = 0

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")


async def test_a_password_that_is_changed_while_the_old_one_is_compared_lets_nobody_in(
    weir: RunningWeir, make_person: MakePerson
) -> None:
    user = await make_person()
    sign_in = weir.wiring.people.sign_in
    checked = await sign_in._require_password(user.email, PASSWORD)
    assert checked.id == user.id
    passwords = sign_in._passwords

    class Slow:
        async def is_right(self, password: str, digest: str | None) -> bool:
            is_right = await passwords.is_right(password, digest)
            await weir.sql("UPDATE users SET password_digest = 'another'")
            return is_right

    sign_in._passwords = Slow()  # type: ignore[assignment]
    try:
        answer = await password_request(weir, user.email)
    finally:
        sign_in._passwords = passwords

    assert answer.json() == REFUSAL


async def test_a_password_that_is_replaced_while_its_person_changes_it_stays_as_it_was_replaced(
    weir: RunningWeir, sign_in: SignIn
) -> None:
    thief = await sign_in()
    people = weir.wiring.people
    passwords = people.sign_in._passwords

    class Slow:
        require_good, is_right = passwords.require_good, passwords.is_right

        async def digest(self, password: str) -> str:
            await people.users.set_password(thief.user.email, "the operator's new one")
            return await passwords.digest(password)

    people.sign_in._passwords = Slow()  # type: ignore[assignment]
    change = {"current_password": PASSWORD, "new_password": "the thief's new one"}
    try:
        async with weir.http(thief.access_token) as client:
            answer = await client.post("/v1/gateway/auth/password", json=change)
    finally:
        people.sign_in._passwords = passwords

    assert answer.json() == REFUSAL
    assert (await password_request(weir, thief.user.email, "the thief's new one")).json() == REFUSAL
    assert (await password_request(weir, thief.user.email, "the operator's new one")).status_code == 200


async def test_who_changes_the_password_stays_here_and_leaves_everywhere_else(
    weir: RunningWeir, make_person: MakePerson
) -> None:
    await make_person()
    here, there = [(await password_request(weir, "ada@example.com")).json() for _ in range(2)]
    change = {"current_password": PASSWORD, "new_password": "a new horse for the battery"}
    async with weir.http(here["access_token"]) as client:
        assert (await client.post("/v1/gateway/auth/password", json=change)).json() == {"done": True}
        assert (await client.get("/v1/gateway/auth/me")).status_code == 200
    async with weir.http(there["access_token"]) as client:
        assert (await client.get("/v1/gateway/auth/me")).status_code == 401
    refreshed = await token_request(weir, grant_type="refresh_token", refresh_token=there["refresh_token"])
    assert refreshed.json() == REFUSAL

    assert (await password_request(weir, "ada@example.com")).json() == REFUSAL
    assert (await password_request(weir, "ada@example.com", change["new_password"])).status_code == 200
    assert "new horse" not in str(await weir.sql("SELECT audit_entries::text FROM audit_entries"))


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"current_password": "wrong", "new_password": "a new horse for the battery"}, 400, None),
        ({"current_password": PASSWORD, "new_password": "short"}, 400, "new_password"),
        ({"current_password": PASSWORD, "new_password": "x" * 257}, 400, "new_password"),
        ({"current_password": PASSWORD, "new_password": "\ud800" * 20}, 400, "new_password"),
        ({"current_password": PASSWORD, "new_password": "a new horse", "role": "owner"}, 400, "role"),
        ({"new_password": "a new horse for the battery"}, 400, "current_password"),
    ],
    ids=str,
)
async def test_a_change_of_password_that_cannot_be_leaves_it(
    weir: RunningWeir, sign_in: SignIn, change: dict[str, str], status: int, param: str | None
) -> None:
    person = await sign_in()
    async with weir.http(person.access_token) as client:
        headers = {"content-type": "application/json"}
        answer = await client.post("/v1/gateway/auth/password", content=json.dumps(change), headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert (await password_request(weir, "ada@example.com")).status_code == 200


async def test_who_has_no_password_cannot_make_one(weir: RunningWeir, sign_in: SignIn) -> None:
    person = await sign_in()
    await weir.sql("UPDATE users SET password_digest = NULL")
    change = {"current_password": "x", "new_password": "a new horse for the battery"}
    async with weir.http(person.access_token) as client:
        answer = await client.post("/v1/gateway/auth/password", json=change)
    assert answer.status_code == 403


async def test_what_is_over_is_deleted_and_what_is_not_stays(weir: RunningWeir, sign_in: SignIn) -> None:
    old, ended, open_ = [await sign_in(f"{name}@example.com") for name in ("old", "ended", "open")]
    await weir.sql("UPDATE sessions SET expires_at = now() - interval '2 days' WHERE user_id = $1", old.user.id)
    await weir.sql("UPDATE sessions SET ended_at = now() - interval '2 days' WHERE user_id = $1", ended.user.id)
    await password_request(weir, "nobody@example.com")
    await weir.sql("UPDATE sign_in_attempts SET ends_at = now()")
    await weir.wiring.people.sign_in._attempts.admit("late@example.com", None)

    work = asyncio.create_task(weir.wiring.people.sign_in.keep_purged())

    async def is_purged() -> bool:
        return len(await weir.sql("SELECT id FROM sessions")) == 1

    await until(is_purged)
    work.cancel()

    assert [row[0] for row in await weir.sql("SELECT user_id FROM sessions")] == [open_.user.id]
    assert len(await weir.sql("SELECT * FROM refresh_tokens")) == 1
    assert len(await weir.sql("SELECT * FROM sign_in_attempts")) == 1


@pytest.mark.needs("curl")
async def test_the_command_of_the_page_signs_in_with_a_password_that_is_typed(
    weir: RunningWeir, make_person: MakePerson
) -> None:
    await make_person(proj_default="member")
    [command] = re.findall(r"^.*grant_type=password.*$", PAGE, re.MULTILINE)
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", command.replace("$WEIR", weir.base_url)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NO_PROXY": "*"},
    )
    output, _ = await process.communicate(f"{PASSWORD}\n".encode())
    assert "access_token" in json.loads(output), output
