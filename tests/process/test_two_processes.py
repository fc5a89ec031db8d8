"""Two `weir serve` on one PostgreSQL and one Valkey: one limit for both, and what changes at one holds at the other."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from pydantic import SecretStr

from app.first_run import prepare
from app.local import completed
from app.settings import Settings
from tests.embedded.probes import run
from tests.process.weir_process import PATIENCE_SECONDS, WeirProcess, empty_directory

CALLERS = 200
LIMIT = 100
PROMISE_SECONDS = 1.0
"""How soon a change at one process is in force at the other."""
LOOKING_SECONDS = 0.5
"""What a busy machine may take for the call that looks; without the notice a change would take up to 30 seconds."""
_ADMIN_KEY, _API_KEY = (
    SecretStr("admin-key-for-two-processes-of-one-weir"),
    SecretStr("api-key-for-two-processes-of-one-weir"),
)


class Pair(NamedTuple):
    """A client of each process, with the administrator's key."""

    first: httpx.AsyncClient
    second: httpx.AsyncClient

    async def call(self, key: str, *, at: httpx.AsyncClient | None = None) -> httpx.Response:
        """Make a call at the second process, or at another one."""
        body = {"model": "sim-small", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 5}
        return await (at or self.second).post("/v1/chat/completions", json=body, headers=bearer(key))

    async def make(self, path: str, body: dict[str, Any]) -> Any:
        """Make something at the first process."""
        answer = await self.first.post(path, json=body)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def processes() -> Iterator[list[WeirProcess]]:
    with empty_directory() as directory, ExitStack() as stack:
        settings = stack.enter_context(completed(_settings(directory), lambda _: None, share=False))
        run(prepare(settings, migrate=True))
        assert settings.database_url and settings.redis_url and settings.keys.pepper  # noqa: PT018
        variables = {
            "WEIR_DATABASE_URL": settings.database_url.get_secret_value(),
            "WEIR_REDIS_URL": settings.redis_url.get_secret_value(),
            "WEIR_KEYS__PEPPER": settings.keys.pepper.get_secret_value(),
            "WEIR_LIMITS__REDIS_TIMEOUT_MS": "5000",  # a busy machine is no lost Redis
            "WEIR_LOG__FORMAT": "json",
        }
        started = [stack.enter_context(WeirProcess(directory, variables=variables)) for _ in range(2)]
        for process in started:
            process.wait_until_started()
        yield started


def _settings(directory: Path) -> Settings:
    keys = {"bootstrap_admin_key": _ADMIN_KEY, "bootstrap_api_key": _API_KEY}
    return Settings(data_dir=directory / "data").model_copy(update=keys)


@pytest.fixture
async def pair(processes: list[WeirProcess]) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        headers, limits = bearer(_ADMIN_KEY.get_secret_value()), httpx.Limits(max_connections=CALLERS)
        clients = [
            httpx.AsyncClient(
                base_url=process.base_url, headers=headers, limits=limits, timeout=PATIENCE_SECONDS, trust_env=False
            )
            for process in processes
        ]
        yield Pair(*[await stack.enter_async_context(client) for client in clients])


async def in_time(is_in_force: Callable[[], Awaitable[bool]]) -> None:
    """Return when a change is in force; fails after the time that was promised."""
    async with asyncio.timeout(PROMISE_SECONDS + LOOKING_SECONDS):
        while not await is_in_force():  # noqa: ASYNC110 - nothing says it but the answer
            await asyncio.sleep(0.01)


class Key(NamedTuple):
    """A key of a project that nobody else uses, so that tests do not meet."""

    id: str
    value: str
    project_id: str


async def new_key(pair: Pair) -> Key:
    """Make a project, a service account, and with it a key."""
    project = await pair.make("/v1/organization/projects", {"name": "two processes"})
    account = await pair.make(f"/v1/organization/projects/{project['id']}/service_accounts", {"name": "a program"})
    return Key(account["api_key"]["id"], account["api_key"]["value"], project["id"])


async def limit(pair: Pair, key: Key, **fields: Any) -> Any:
    """Limit a project, and return when the second process knows."""
    new = {"name": "shared", "scope": "project", "scope_id": key.project_id, "counts": "requests", **fields}
    made = await pair.make("/v1/gateway/limits", new)

    async def is_known() -> bool:
        own = await pair.second.get("/v1/gateway/my/limits", headers=bearer(key.value))
        return [each["maximum"] for each in own.json()["data"]] == [fields["maximum"]]

    await in_time(is_known)
    return made


async def test_of_200_callers_exactly_the_limit_passes_and_every_header_is_true(pair: Pair) -> None:
    key = await new_key(pair)
    await limit(pair, key, per="minute", maximum=LIMIT)
    places = [*pair] * (CALLERS // 2)
    random.shuffle(places)

    answers = await asyncio.gather(*(pair.call(key.value, at=place) for place in places))

    passed = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert (len(passed), len(refused)) == (LIMIT, CALLERS - LIMIT)
    assert {answer.headers["x-ratelimit-limit-requests"] for answer in answers} == {str(LIMIT)}
    # Each that passed was told a number of its own, so that together they tell of every call once.
    left = sorted(int(answer.headers["x-ratelimit-remaining-requests"]) for answer in passed)
    assert left == list(range(LIMIT))
    for answer in refused:
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        wait_ms = int(answer.headers["retry-after-ms"])
        assert 0 < wait_ms <= 60_600
        assert int(answer.headers["retry-after"]) == -(-wait_ms // 1_000)
    assert len({answer.url.port for answer in passed}) == 2


async def test_who_waits_as_long_as_one_process_says_is_admitted_by_the_other(pair: Pair) -> None:
    key = await new_key(pair)
    await limit(pair, key, per="second", maximum=1)

    async with asyncio.timeout(PATIENCE_SECONDS):
        while (refused := await pair.call(key.value, at=pair.first)).status_code == 200:
            pass
    # What is promised is that waiting so long is enough; it is no guess of when something has happened.
    await asyncio.sleep(int(refused.headers["retry-after-ms"]) / 1_000)

    assert refused.status_code == 429
    assert (await pair.call(key.value)).status_code == 200


async def test_a_revoked_key_is_revoked_at_the_other_process(pair: Pair) -> None:
    key = await new_key(pair)
    assert (await pair.call(key.value)).status_code == 200

    assert (await pair.first.delete(f"/v1/gateway/keys/{key.id}")).status_code == 200

    await in_time(lambda: answers(pair, key.value, 401))


async def test_a_key_that_may_call_fewer_models_may_at_the_other_process(pair: Pair) -> None:
    key = await new_key(pair)
    assert (await pair.call(key.value)).status_code == 200

    changed = await pair.first.patch(f"/v1/gateway/keys/{key.id}", json={"models": ["sim-large"]})
    assert changed.status_code == 200, changed.text

    await in_time(lambda: answers(pair, key.value, 404))


async def test_a_model_that_is_denied_is_denied_at_the_other_process(pair: Pair) -> None:
    key = await new_key(pair)
    assert (await pair.call(key.value)).status_code == 200

    path = f"/v1/organization/projects/{key.project_id}/model_permissions"
    await pair.make(path, {"mode": "deny_list", "model_ids": ["sim-small"]})

    await in_time(lambda: answers(pair, key.value, 404))


async def test_a_limit_that_is_lowered_is_lower_at_the_other_process(pair: Pair) -> None:
    key = await new_key(pair)
    made = await limit(pair, key, per="minute", maximum=1_000)
    assert (await pair.call(key.value)).status_code == 200

    changed = await pair.first.patch(f"/v1/gateway/limits/{made['id']}", json={"maximum": 0})
    assert changed.status_code == 200, changed.text

    await in_time(lambda: answers(pair, key.value, 429))


async def test_an_archived_project_is_archived_at_the_other_process(pair: Pair) -> None:
    key = await new_key(pair)
    assert (await pair.call(key.value)).status_code == 200

    await pair.make(f"/v1/organization/projects/{key.project_id}/archive", {})

    await in_time(lambda: answers(pair, key.value, 401))


async def test_who_signs_out_everywhere_is_signed_out_at_the_other_process(pair: Pair) -> None:
    sent = await pair.make("/v1/organization/invites", {"email": "ada@example.com", "role": "reader"})
    person = {"token": sent["token"], "name": "Ada", "password": "correct horse battery staple"}
    token = (await pair.make("/v1/gateway/auth/invites/accept", person))["access_token"]
    assert (await pair.call(token)).status_code == 200

    signed_out = await pair.first.post("/v1/gateway/auth/sign-out-everywhere", headers=bearer(token))
    assert signed_out.status_code < 300, signed_out.text

    await in_time(lambda: answers(pair, token, 401))


async def answers(pair: Pair, key: str, status: int) -> bool:
    """Tell whether the second process answers a call so."""
    return (await pair.call(key)).status_code == status
