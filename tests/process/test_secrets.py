"""Secrets are planted wherever one can be, good and bad calls are made, and then nothing may show any of them."""

import asyncio
import json
import os
import re
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from openai import APIError, AsyncOpenAI
from pydantic import SecretStr

from app.simulator.app import Simulator
from tests.embedded.probes import eventually
from tests.fixtures.weir import UPSTREAM_KEY, StartWeir
from tests.process.weir_process import WeirProcess, empty_directory, is_running

_PROMPT = "the-prompt-that-nobody-may-read"
_ANSWER = "You wrote"  # how the simulator's answers begin
_WRONG_UPSTREAM_KEY = "sk-wrong-upstream-key-0123456789abcdef"
# Nothing in it looks like a key, so that no pattern of the redaction takes it out.
_MANAGED_KEY = "planted.Credential.of.a.managed.Upstream.0123456789abcdef"
_WRONG_KEY = "wk-a-key-that-never-worked-0123456789abcdef"


@pytest.fixture
def directory() -> Iterator[Path]:
    with empty_directory() as directory:
        yield directory


class _Calls:
    """Makes calls to a Weir, and keeps every error that a client was shown."""

    def __init__(self, base_url: str, key: str) -> None:
        self._key = key
        self.base_url = base_url
        self._http = httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=30)
        self.sdk = AsyncOpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0)
        self.errors: list[str] = []
        self.statuses: list[int] = []

    async def send(
        self, script: str = "", *, key: str | None = None, content: bytes | None = None, **more: Any
    ) -> None:
        ask = {"model": f"gpt-4o-mini{script}", "messages": [{"role": "user", "content": _PROMPT}], **more}
        response = await self._http.post(
            "/v1/chat/completions",
            content=json.dumps(ask).encode() if content is None else content,
            headers={"authorization": f"Bearer {key or self._key}"},
        )
        self.statuses.append(response.status_code)
        if response.status_code != 200 or "error" in response.text[-500:]:
            self.errors.append(f"{response.headers} {response.text}")

    async def get(self, path: str) -> httpx.Response:
        return await self._http.get(path, headers={"authorization": f"Bearer {self._key}"})

    async def close(self) -> None:
        await self._http.aclose()
        await self.sdk.close()


async def _good_and_bad_calls(calls: _Calls) -> None:
    for more in ({}, {"stream": True}, {"stream": True, "n": 2}, {"user": _PROMPT, _PROMPT: _PROMPT}):
        await calls.send(**more)
    for script in ("status=400", "status=401", "status=429", "status=500", "malformed=json", "malformed=html"):
        await calls.send(f";{script}")
        await calls.send(f";{script}", stream=True)
    for script in ("cut_after=2", "eof_after=2", "error_after=2", "no_usage=1"):
        await calls.send(f";{script}", stream=True)
    await calls.send(key=_WRONG_KEY)
    await calls.send(key=calls.sdk.api_key + "x")
    for content in (b'{"model": "' + _PROMPT.encode(), b'["' + _PROMPT.encode() + b'"]', _PROMPT.encode() * 10):
        await calls.send(content=content)
    await calls.send(model=_PROMPT * 20)
    await calls.send(messages=_PROMPT)
    await calls.send(stream=_PROMPT)
    with pytest.raises(APIError):
        await calls.sdk.chat.completions.create(model="gpt-4o-mini;status=503", messages=[], extra_query={"q": _PROMPT})
    calls.errors.append((await calls.get("/v1/requests/req_nobody_made")).text)


async def _managed_upstream(calls: _Calls, admin_key: str, upstream_url: str) -> str:
    """Add an upstream whose credential is wrong there, change, test and use it; return all that was shown of it."""
    path = "/v1/gateway/upstreams"
    new = {"name": "managed", "base_url": upstream_url, "api_key": _MANAGED_KEY, "models": ["managed"], "priority": -1}
    headers = {"authorization": f"Bearer {admin_key}"}
    async with httpx.AsyncClient(base_url=calls.base_url, trust_env=False, timeout=30, headers=headers) as admin:
        answers = [
            await admin.post(path, json=new),
            await admin.post(path, json={**new, "api_key": f"{_MANAGED_KEY} {_MANAGED_KEY}"}),
            await admin.post(path, json={**new, "base_url": upstream_url.replace("//", f"//{_MANAGED_KEY}@")}),
            await admin.post(path, json={**new, "test": False}),
        ]
        place = f"{path}/{answers[-1].json()['id']}"
        answers += [
            await admin.patch(place, json={"api_key": _MANAGED_KEY}),
            await admin.patch(place, json={"api_key": _MANAGED_KEY, "test": False}),
            await admin.post(f"{place}/test"),
            await admin.get(place),
            await admin.get(path),
        ]
        assert [answer.status_code for answer in answers] == [422, 400, 400, 200, 422, 200, 200, 200, 200]
        await calls.send(model="managed")
        await calls.send(model="managed", stream=True)
        answers += [await admin.get("/v1/models"), await admin.get("/v1/organization/audit_logs")]
    return "\n".join(f"{answer.headers} {answer.text}" for answer in answers)


async def test_no_secret_shows_up_anywhere(directory: Path, shared_simulator: tuple[Simulator, str]) -> None:
    simulator, upstream_url = shared_simulator
    simulator.account.reset()
    pepper = "pepper-" + secrets.token_hex(20)
    key = "wk-client-key-" + secrets.token_hex(20)
    variables = {
        "OPENAI_API_KEY": UPSTREAM_KEY,
        "OPENAI_BASE_URL": upstream_url,
        "WEIR_BOOTSTRAP_API_KEY": key,
        "WEIR_BOOTSTRAP_ADMIN_KEY": key.replace("wk", "wa"),
        "WEIR_KEYS__PEPPER": pepper,
        "WEIR_LOG__LEVEL": "debug",
        "WEIR_UPSTREAMS__ALLOW_PRIVATE_ADDRESSES": "true",
    }
    with WeirProcess(directory, variables=variables) as weir:
        await asyncio.to_thread(weir.wait_until_started)
        running = json.loads((directory / "data" / "running.json").read_text())
        passwords = re.findall(r":([0-9a-f]{20,})@", json.dumps(running))
        calls = _Calls(weir.base_url, key)
        async with asyncio.timeout(60):
            await _good_and_bad_calls(calls)
            managed = await _managed_upstream(calls, key.replace("wk", "wa"), upstream_url)
            stored = await _rows(running["database_url"], "upstreams")
            audited = await _rows(running["database_url"], "audit_entries")
            await _bug(calls, running["database_url"])
            await _database_killed(calls, weir)
            ledger = await _rows(running["database_url"])
            metrics = (await calls.get("/metrics")).text
            receipt = (await calls.get(f"/v1/requests/{ledger[0]['request_id']}")).text
            await calls.close()
        assert await asyncio.to_thread(weir.stop) == 0

    assert len(passwords) == 2
    assert {200, 400, 401, 429, 500, 502, 503} <= set(calls.statuses)
    assert len(ledger) >= 15
    assert (len(stored), [row["event"] for row in audited].count("upstream.updated")) == (1, 1)
    assert weir.events("bug")
    shown = {
        "output": weir.output,
        "errors": "\n".join(calls.errors),
        "metrics": metrics,
        "receipt": receipt,
        "administration": managed,
        "table of upstreams": "\n".join(map(str, stored)),
        "audit log": "\n".join(map(str, audited)),
        "ledger": "\n".join(map(str, ledger)),
        **{path.name: path.read_text() for path in (directory / "data" / "embedded").glob("*.log*")},
    }
    assert len(shown) >= 7
    planted = {
        "client key": key,
        "admin key": key.replace("wk", "wa"),
        "wrong key": _WRONG_KEY,
        "upstream key": UPSTREAM_KEY,
        "managed upstream's key": _MANAGED_KEY,
        "pepper": pepper,
        "prompt": _PROMPT,
        "answer": _ANSWER,
        "PostgreSQL's password": passwords[0],
        "Valkey's password": passwords[1],
    }
    found = [f"{secret} in {place}" for secret, value in planted.items() for place in shown if value in shown[place]]
    assert found == []
    # Neither does a part of one that is long enough to be guessed with.
    for value in (key, UPSTREAM_KEY, _MANAGED_KEY, pepper):
        assert not [place for place in shown if value[-16:] in shown[place]]


async def test_an_upstream_that_repeats_the_key_it_refuses_is_not_repeated(start_weir: StartWeir) -> None:
    weir = await start_weir({"openai_api_key": SecretStr(_WRONG_UPSTREAM_KEY)})
    calls = _Calls(weir.base_url, weir.api_key)
    await calls.send()
    await calls.send(stream=True)
    calls.errors.append((await calls.get("/v1/models")).text)
    await calls.close()
    assert calls.statuses == [502, 502]
    # The simulator shows both ends of the key, as OpenAI does.
    for part in (_WRONG_UPSTREAM_KEY[:8], _WRONG_UPSTREAM_KEY[-4:], "Incorrect API key provided"):
        assert part not in "\n".join(calls.errors)


async def _bug(calls: _Calls, url: str) -> None:
    """Make Weir meet what nobody foresaw: a table that is gone."""
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER TABLE api_keys RENAME TO api_keys_gone")
    await calls.send(key=f"{_WRONG_KEY}-that-must-be-looked-up")
    await connection.execute("ALTER TABLE api_keys_gone RENAME TO api_keys")
    await connection.close()
    assert calls.statuses[-1] == 500


async def _database_killed(calls: _Calls, weir: WeirProcess) -> None:
    pid, _ = weir.server_pids()
    os.kill(pid, signal.SIGKILL)
    assert await asyncio.to_thread(eventually, lambda: not is_running(pid))
    await calls.send(key=f"{_WRONG_KEY}-while-the-database-is-away")
    while calls.statuses[-1] != 200:
        await calls.send()


async def _rows(url: str, table: str = "ledger_entries") -> list[dict[str, Any]]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(f"SELECT * FROM {table} ORDER BY 2")
        return [dict(row) for row in rows]
    finally:
        await connection.close()
