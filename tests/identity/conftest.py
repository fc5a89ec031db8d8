"""People for tests: made as the command line makes them, and signed in as Swagger does it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from app.identity.person import NewUser, UserRecord
from app.identity.roles import Role
from tests.fixtures.weir import RunningWeir

PASSWORD = "correct horse battery staple"
TOKEN_PATH = "/v1/gateway/auth/token"


@dataclass
class SignedInPerson:
    """Somebody with tokens."""

    user: UserRecord
    access_token: str
    refresh_token: str


MakePerson = Callable[..., Awaitable[UserRecord]]
SignIn = Callable[..., Awaitable[SignedInPerson]]


async def token_request(weir: RunningWeir, **form: Any) -> httpx.Response:
    async with weir.http("") as client:
        return await client.post(TOKEN_PATH, data=form)


async def password_request(weir: RunningWeir, email: str, password: str = PASSWORD) -> httpx.Response:
    return await token_request(weir, grant_type="password", username=email, password=password)


async def events(weir: RunningWeir) -> list[tuple[Any, ...]]:
    """Return what the audit log has: event, person, address of e-mail, address, session."""
    columns = "event, actor_user_id, actor_email, address, actor_id"
    return [
        tuple(row)
        for row in await weir.sql(
            f"SELECT {columns} FROM audit_entries WHERE event NOT LIKE 'api_key%' ORDER BY position"
        )
    ]


@pytest.fixture(scope="session")
async def password_digest(shared_weir: RunningWeir) -> str:
    """Hashed once, as that takes a fifth of a second."""
    return await shared_weir.wiring.people.users.digest(PASSWORD)


@pytest.fixture
def make_person(weir: RunningWeir, password_digest: str) -> MakePerson:
    """Make a person: `await make_person("ada@example.com", "admin", proj_default="member")`."""

    async def make(email: str = "ada@example.com", role: Role = "member", **projects: Role) -> UserRecord:
        users = weir.wiring.people.users
        async with users._db.transaction() as tx:
            user = await users.create(tx, NewUser(email, email.partition("@")[0].title(), role, password_digest))
            for project_id, project_role in projects.items():
                await weir.wiring.members.add(tx, project_id, user.id, project_role)
        return user

    return make


@pytest.fixture
def sign_in(weir: RunningWeir, make_person: MakePerson) -> SignIn:
    """Make a person and open a session for them, without the slow comparison of a password."""

    async def sign(email: str = "ada@example.com", role: Role = "member", **projects: Role) -> SignedInPerson:
        user = await make_person(email, role, **projects)
        sessions = weir.wiring.people.sessions
        async with sessions._db.transaction() as tx:
            tokens = await sessions.open(tx, user)
        return SignedInPerson(user, tokens.access_token, tokens.refresh_token)

    return sign
