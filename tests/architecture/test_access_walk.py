"""Every route, asked by every kind of caller over HTTP: each gets in, or is kept out, as the table of rights says."""

import re
from collections.abc import AsyncIterator
from typing import Final

import httpx
import pytest
from fastapi.routing import APIRoute

from app.identity.person import NewUser, UserRecord
from app.keys.access import Access
from app.routes import ROUTES
from app.unsupported_router import router as unsupported
from tests.architecture.test_access import BLIND, CALLERS, KEYS, MAY, MINE, OTHER
from tests.fixtures.weir import RunningWeir

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
TABLE: Final = [
    (mount.access, f"{mount.prefix}{route.path}", method)
    for mount in ROUTES
    for route in mount.router.routes
    if isinstance(route, APIRoute) and route.include_in_schema
    for method in sorted(route.methods or ())
]
UPGRADES: Final = [("/v1/realtime", "GET"), ("/v1/responses", "GET")]
"""Where a WebSocket is: a plain GET is told so, and in the API description there is none."""
UNSUPPORTED: Final = [
    (f"/v1{route.path}", method)
    for route in unsupported.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods or ())
]
# What ends sessions or the project, without which the next caller could not ask.
ENDINGS: Final = {
    "/v1/gateway/auth/sign-out",
    "/v1/gateway/auth/sign-out-everywhere",
    "/v1/organization/projects/{project_id}/archive",
}
# Here the services decide what they show to whom.
DECIDED_INSIDE: Final = {"any caller", "management"}
SOME: Final = ("API key", "admin key", "member", "project member")
Answers = dict[str, httpx.Response]


class Cast:
    """One client for each kind of caller, and one for nobody."""

    def __init__(self, weir: RunningWeir, tokens: dict[str, str], people: dict[str, UserRecord]) -> None:
        self._weir = weir
        self.clients = {name: weir.http(tokens.get(name)) for name in CALLERS}
        self.nobody = weir.http("")
        self._people = people
        self._sessions = weir.wiring.people.sessions

    async def renew(self) -> None:
        """Begin a session for each person, and the project anew."""
        await self._weir.sql("UPDATE projects SET archived_at = NULL WHERE id = $1", MINE)
        self._weir.wiring.members.forget("")
        async with self._sessions._db.transaction() as tx:
            for name, user in self._people.items():
                token = (await self._sessions.open(tx, user)).access_token
                self.clients[name].headers["authorization"] = f"Bearer {token}"

    async def ask(self, name: str, method: str, path: str, project_id: str = MINE) -> httpx.Response:
        """Return the answer to a caller who asks for objects that do not exist, in a project that does."""
        body = {"model": "sim-small"} if method in ("POST", "PUT", "PATCH") else None
        client = self.nobody if name == "nobody" else self.clients[name]
        return await client.request(method, filled(path, project_id), json=body)


def filled(path: str, project_id: str) -> str:
    return re.sub(r"{[^}]*}", "unknown_1", path.replace("{project_id}", project_id))


@pytest.fixture(scope="module")
async def cast(shared_weir: RunningWeir) -> AsyncIterator[Cast]:
    wiring = shared_weir.wiring
    await shared_weir.empty()
    await shared_weir.sql(
        "INSERT INTO projects (id, name) VALUES ($1, $1), ($2, $2) ON CONFLICT DO NOTHING", MINE, OTHER
    )
    tokens = {
        "API key": (await wiring.keys.create("api", "an API key", project_id=MINE)).value,
        "admin key": (await wiring.keys.create("admin", "an admin key")).value,
    }
    users, people = wiring.people.users, {}
    async with users._db.transaction() as tx:
        for name in CALLERS.keys() - KEYS:
            caller = CALLERS[name]
            email = f"{name.replace(' ', '.').replace(',', '')}@example.org"
            user = await users.create(tx, NewUser(email, name, caller.organization_role or "member", None))
            for project_id, role in caller.project_roles.items():
                await wiring.members.add(tx, project_id, user.id, role)
            people[name] = user
    cast = Cast(shared_weir, tokens, people)
    await cast.renew()
    yield cast
    for client in (*cast.clients.values(), cast.nobody):
        await client.aclose()
    await shared_weir.empty()
    await shared_weir.sql("DELETE FROM api_keys WHERE project_id = ANY($1)", [MINE, OTHER])


@pytest.mark.parametrize(("access", "path", "method"), TABLE, ids=lambda part: str(part).replace("/", "_"))
async def test_each_caller_gets_as_far_as_the_table_says(cast: Cast, access: Access, path: str, method: str) -> None:
    project_id = MINE if "{project_id}" in path else None
    may = MAY[access, method == "GET", project_id]
    answers = {}
    for name in ("nobody", *sorted(SOME if access == "any caller" else CALLERS, key=lambda name: name in may)):
        answers[name] = await cast.ask(name, method, path)
        if path in ENDINGS:
            await cast.renew()

    assert all(answer.status_code < 500 for answer in answers.values()), shown(answers)
    if access == "public":
        return
    assert answers.pop("nobody").status_code == 401
    for name, answer in answers.items():
        status = answer.status_code
        if name in may:
            assert status != 401, (name, shown(answers))
            assert access in DECIDED_INSIDE or status != 403, (name, shown(answers))
        else:
            is_hidden = access == "project" and project_id and name in BLIND and not CALLERS[name].project_roles
            assert status == (404 if is_hidden else 403), (name, shown(answers))


@pytest.mark.parametrize(
    ("path", "method"),
    [(path, method) for access, path, method in TABLE if access == "project" and "{project_id}" in path],
    ids=lambda part: str(part).replace("/", "_"),
)
async def test_a_project_of_others_answers_as_one_that_does_not_exist(cast: Cast, path: str, method: str) -> None:
    for name in BLIND:
        there = await cast.ask(name, method, path, OTHER)
        nowhere = await cast.ask(name, method, path, "proj_nowhere")
        assert there.status_code == nowhere.status_code == 404
        assert there.text.replace(OTHER, "") == nowhere.text.replace("proj_nowhere", ""), name
        assert there.headers.keys() == nowhere.headers.keys()


@pytest.mark.parametrize(("path", "method"), UNSUPPORTED, ids=lambda part: str(part).replace("/", "_"))
async def test_what_weir_has_not_is_told_to_callers_only(cast: Cast, path: str, method: str) -> None:
    assert (await cast.ask("nobody", method, path)).status_code == 401
    answer = await cast.ask("member", method, path, OTHER)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_supported_by_weir")


@pytest.mark.parametrize("path", sorted({path for _, path, _ in TABLE}))
async def test_a_method_that_is_not_in_the_table_is_405(cast: Cast, path: str) -> None:
    asked = filled(path, MINE)
    rows = [*((template, method) for _, template, method in TABLE), *UNSUPPORTED, *UPGRADES]
    known = {method for template, method in rows if pattern(template).fullmatch(asked)}
    for method in {*METHODS, "PROPFIND"} - known:
        answer = await cast.ask("admin key", method, path)
        assert answer.status_code == 405, (method, answer.text)
        assert set(answer.headers["allow"].split(", ")) <= known


@pytest.mark.parametrize(
    "credential",
    [
        "Bearer",
        "Bearer wa-0000000000000000000000000000000000000000000000000000",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJvd25lciJ9.",
        "Basic d2VpcjprZXk=",
        "Bearer " + "x" * 20_000,
        "Bearer \xff\xfe",
    ],
)
async def test_a_credential_that_means_nothing_opens_nothing(cast: Cast, credential: str) -> None:
    headers = {b"authorization": credential.encode("latin-1")}
    for path in sorted({path for access, path, _ in TABLE if access != "public"})[::7]:
        answer = await cast.nobody.request("GET", filled(path, MINE), headers=headers)
        assert answer.status_code in (401, 405), (path, answer.text)


def pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"{[^}]*}", "[^/]+", re.sub(r"{[^}]*:path}", ".*", template)))


def shown(answers: Answers) -> str:
    return "\n".join(f"{name}: {answer.status_code} {answer.text[:200]}" for name, answer in answers.items())
