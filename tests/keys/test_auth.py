"""What a client sees of authentication: one and the same refusal for every reason."""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta

import httpx
import pytest

from app.keys import tokens
from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.servers import PEPPER
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir

REFUSAL = {
    "error": {
        "message": "Incorrect or missing API key. Send a valid Weir key as 'Authorization: Bearer <key>'.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
}


def wrong_checksum() -> str:
    key = tokens.mint("api")
    return key[:-1] + ("0" if key[-1] != "0" else "1")


HEADERS: dict[str, list[bytes]] = {
    "none": [],
    "empty": [b""],
    "scheme only": [b"Bearer"],
    "another scheme": [b"Basic d2VpcjpzZWNyZXQ="],
    "key without scheme": [tokens.mint("api").encode()],
    "unknown": [b"Bearer " + tokens.mint("api").encode()],
    "unknown admin": [b"Bearer " + tokens.mint("admin").encode()],
    "wrong checksum": [b"Bearer " + wrong_checksum().encode()],
    "malformed": [b"Bearer wk-nonsense"],
    "somebody else's": [b"Bearer sk-proj-0123456789abcdef0123456789abcdef"],
    "two words": [b"Bearer wk-one wk-two"],
    "non-ASCII": ["Bearer wk-schlüssel-ⅶ".encode()],
    "not UTF-8": [b"Bearer wk-\xff\xfe"],
    "control characters": [b"Bearer wk-a\tb"],
    "longer than a key can be": [b"Bearer " + b"a" * 20_000],
}
PATHS = [("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/v1/requests/req_12345678")]


async def ask(weir: RunningWeir, method: str, path: str, values: list[bytes]) -> httpx.Response:
    body = b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}' if method == "POST" else None
    headers = [(b"content-type", b"application/json"), *((b"authorization", value) for value in values)]
    async with weir.http("") as client:
        return await client.request(method, path, headers=headers, content=body)


def assert_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 401
    assert answer.json() == REFUSAL
    assert answer.headers["www-authenticate"] == 'Bearer realm="weir"'
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("name", HEADERS)
async def test_what_is_no_valid_key_gets_the_one_generic_refusal(weir: RunningWeir, name: str) -> None:
    for method, path in PATHS:
        assert_refused(await ask(weir, method, path, HEADERS[name]))

    assert weir.arrivals == []


async def test_a_key_of_100_kilobytes_never_reaches_the_keys(weir: RunningWeir) -> None:
    answer = await ask(weir, "GET", "/v1/models", [b"Bearer " + b"a" * 100_000])

    assert answer.status_code == 431


async def test_of_two_authorization_headers_none_counts_even_when_both_are_right(weir: RunningWeir) -> None:
    value = f"Bearer {weir.api_key}".encode()

    for values in ([value, value], [value, b"Bearer wk-other"], [b"Basic x", value]):
        assert_refused(await ask(weir, "GET", "/v1/models", values))
    assert (await ask(weir, "GET", "/v1/models", [value])).status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer   "])
async def test_the_scheme_is_read_as_http_reads_it(weir: RunningWeir, scheme: str) -> None:
    answer = await ask(weir, "GET", "/v1/models", [f"{scheme}{weir.api_key}".encode()])

    assert answer.status_code == 200


async def test_revoked_and_expired_keys_get_the_same_refusal(weir: RunningWeir) -> None:
    keys = weir.wiring.keys
    revoked = await keys.create("api", "to be revoked", project_id=DEFAULT_PROJECT_ID)
    expired = await keys.create("api", "expired", project_id=DEFAULT_PROJECT_ID, expires_in=timedelta(seconds=-1))
    assert (await ask(weir, "GET", "/v1/models", [f"Bearer {revoked.value}".encode()])).status_code == 200

    await keys.revoke(revoked.id)

    for key in (revoked, expired):
        for method, path in PATHS:
            assert_refused(await ask(weir, method, path, [f"Bearer {key.value}".encode()]))


async def test_a_key_that_the_command_line_revokes_stops_in_the_running_weir(weir: RunningWeir) -> None:
    minted = await weir.wiring.keys.create("api", "to be revoked", project_id=DEFAULT_PROJECT_ID)
    value = f"Bearer {minted.value}".encode()
    assert (await ask(weir, "GET", "/v1/models", [value])).status_code == 200
    database_url, redis_url = weir.settings.database_url, weir.settings.redis_url
    assert database_url is not None
    assert redis_url is not None
    environment = {
        **os.environ,
        "WEIR_DATABASE_URL": database_url.get_secret_value(),
        "WEIR_REDIS_URL": redis_url.get_secret_value(),
        "WEIR_KEYS__PEPPER": PEPPER,
    }
    command = [sys.executable, "-m", "app", "keys", "revoke", minted.id]

    ended = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr

    async def is_refused() -> bool:
        return (await ask(weir, "GET", "/v1/models", [value])).status_code == 401

    await until(is_refused)


async def test_an_admin_key_may_not_call_models(weir: RunningWeir) -> None:
    answer = await ask(weir, "POST", "/v1/chat/completions", [f"Bearer {weir.admin_key}".encode()])

    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "insufficient_permissions"
    assert weir.arrivals == []
