"""`weir users`: the first owner, a forgotten password, and who there is."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.errors import WeirError
from app.settings import Settings
from app.user_commands import user_commands
from tests.fixtures.weir import RunningWeir
from tests.identity.conftest import PASSWORD, SignIn, password_request

ADA = "ada@example.com"
Command = Callable[..., Awaitable[Result]]


@pytest.fixture
def command(weir: RunningWeir) -> Command:
    """Run one command in a thread with an event loop of its own, as the command line has one."""

    def run_here(work: Callable[[Settings], Awaitable[Any]]) -> Any:
        async def with_settings() -> Any:
            return await work(weir.settings)

        return asyncio.run(with_settings())

    async def run(*arguments: str, input: str = "") -> Result:  # noqa: A002 - as Click calls it
        commands = user_commands(run_here)
        return await asyncio.to_thread(CliRunner().invoke, commands, arguments, input=input, env={"COLUMNS": "200"})

    return run


async def test_the_first_owner_is_asked_for_a_password_twice_and_never_shown_it(
    weir: RunningWeir, command: Command
) -> None:
    made = await command("create-admin", "--email", "Ada@Example.com", "--name", " Ada ", input=f"{PASSWORD}\n" * 2)

    assert made.exit_code == 0, made.output
    assert PASSWORD not in made.output
    tokens = (await password_request(weir, ADA)).json()
    async with weir.http(tokens["access_token"]) as client:
        me = (await client.get("/v1/gateway/auth/me")).json()
        body = {"model": "sim-small", "messages": [{"role": "user", "content": "Hi"}]}
        called = await client.post("/v1/chat/completions", json=body)
        seen = await client.get("/v1/organization/users")
    assert (me["role"], me["name"], me["projects"]) == ("owner", "Ada", {"proj_default": "owner"})
    assert (called.status_code, seen.status_code) == (200, 200)
    written = await weir.sql("SELECT actor_kind FROM audit_entries WHERE event = 'user.added'")
    assert {kind for (kind,) in written} == {"system"}


async def test_a_password_can_be_made_and_is_shown_once(weir: RunningWeir, command: Command) -> None:
    made = await command("create-admin", "--email", ADA, "--generate-password")

    (password,) = re.findall(r"shown once\): (\S{20,})", made.output)
    assert (await password_request(weir, ADA, password)).status_code == 200
    assert [tuple(row) for row in await weir.sql("SELECT name FROM users")] == [("ada",)]


@pytest.mark.parametrize(
    ("arguments", "typed", "message"),
    [
        (["create-admin", "--email", "no address"], "", "must be an e-mail address"),
        (["create-admin", "--email", "a\nb@example.com"], "", "must be an e-mail address"),
        (["create-admin", "--email", ADA, "--name", "a\x1bb"], "", "none of them a control character"),
        (["create-admin", "--email", ADA], "one password\nanother\n", "do not match"),
        (["create-admin"], "", "Missing option"),
    ],
    ids=str,
)
async def test_what_cannot_be_is_said(
    weir: RunningWeir, command: Command, arguments: list[str], typed: str, message: str
) -> None:
    refused = await command(*arguments, input=typed)

    assert refused.exit_code != 0
    assert message in refused.output
    assert await weir.sql("SELECT id FROM users") == []


async def test_what_the_services_refuse_is_refused(weir: RunningWeir, command: Command) -> None:
    short = await command("create-admin", "--email", ADA, input="short\nshort\n")
    unknown = await command("set-password", "--email", ADA, "--generate-password")
    await command("create-admin", "--email", ADA, "--generate-password")
    twice = await command("create-admin", "--email", ADA, "--generate-password")

    refusals = [refused.exception for refused in (short, unknown, twice)]
    assert [getattr(refusal, "code", refusal) for refusal in refusals] == ["invalid_value", "not_found", "user_exists"]
    assert all(isinstance(refusal, WeirError) for refusal in refusals)  # which `main` prints as one line


async def test_a_new_password_ends_the_sessions(weir: RunningWeir, command: Command, sign_in: SignIn) -> None:
    person = await sign_in()

    changed = await command("set-password", "--email", ADA, input="another horse, another battery\n" * 2)

    assert changed.exit_code == 0, changed.output
    assert (await password_request(weir, ADA)).status_code == 400
    assert (await password_request(weir, ADA, "another horse, another battery")).status_code == 200
    weir.wiring.people.persons.forget("")
    async with weir.http(person.access_token) as client:
        assert (await client.get("/v1/gateway/auth/me")).status_code == 401


async def test_everybody_is_listed_on_however_many_pages(weir: RunningWeir, command: Command) -> None:
    assert "create-admin" in (await command("list")).output
    await weir.sql(
        "INSERT INTO users (id, email, name, role) "
        "SELECT 'user_' || n, n || '@example.com', 'Number ' || n, 'member' FROM generate_series(1, 201) n"
    )

    listed = (await command("list")).output

    assert len(listed.splitlines()) == 201
    assert "member  7@example.com  Number 7" in listed
