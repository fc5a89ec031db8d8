"""Programs of frameworks, each in an environment of its own: they cannot tell Weir from OpenAI, nor can OpenAI tell.

Each program of `frameworks/` runs its journeys at a simulator, at a Weir in front of another one, and with keys of that
Weir which may not call. What it sees, and what arrives upstream, is compared.
"""

import asyncio
import gzip
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from app.projects.service import DEFAULT_PROJECT_ID
from app.settings import Settings
from app.simulator.server import serve_simulator
from tests.fixtures.weir import UPSTREAM_KEY, RunningWeir, run_weir, with_upstream
from tests.scenarios.recording import Recorder, first_difference, lasting

_ROOT: Final = Path(__file__).parents[2]
_PROGRAMS: Final = Path(__file__).with_name("frameworks")
_PYTHON_PARTS: Final = Path(sys.prefix) / ".frameworks"
_NODE_PARTS: Final = Path(sys.prefix) / ".node_frameworks"
_VOCABULARY: Final = "cl100k_base"
_VOCABULARY_FETCHED_FROM: Final = f"https://openaipublic.blob.core.windows.net/encodings/{_VOCABULARY}.tiktoken"
_SECONDS_MAX: Final = 120
_TOLD_OF_AN_ERROR: Final = ("kind", "status", "status_code", "statusCode", "code", "type", "isRetryable")
# A connection that breaks has no code; Weir, which saw it break, gives it one.
_BROKEN_BY_THE_UPSTREAM: Final = "cut"
_REFUSED_BY_WEIR: Final = "wrong key"

PYTHON: Final = ("agents", "instructor", "langchain", "llama_index", "pydantic_ai")
NODE: Final = ("ai_sdk", "openai_node")


@dataclass
class Pair:
    """A simulator by itself, and one behind a Weir; both remember what arrives."""

    direct: Recorder
    direct_url: str
    behind: Recorder
    weir: RunningWeir

    async def servers(self) -> list[str]:
        """Return the words of a command line: both servers, and Weir as it is for those who may not call."""
        weir_url = f"{self.weir.base_url}/v1"
        poor, slow = await self._refused_keys()
        return [
            *(self.direct_url, UPSTREAM_KEY, ""),
            *(weir_url, self.weir.api_key, ""),
            *(weir_url, poor, "spent budget"),
            *(weir_url, slow, "limit"),
        ]

    async def _refused_keys(self) -> list[str]:
        refusals: dict[str, dict[str, Any]] = {
            "budgets": {"period": "month", "limit_usd": "0"},
            "limits": {"counts": "requests", "per": "minute", "maximum": 0},
        }
        values = []
        for kind, refusal in refusals.items():
            key = await self.weir.wiring.keys.create("api", kind, project_id=DEFAULT_PROJECT_ID)
            new = {"name": kind, "scope": "api_key", "scope_id": key.id, **refusal}
            async with self.weir.http(self.weir.admin_key) as client:
                answer = await client.post(f"/v1/gateway/{kind}", json=new)
            assert answer.status_code == 200, answer.text
            values.append(key.value)
        return values


@pytest.fixture
async def pair(settings: Settings, weir: RunningWeir) -> AsyncIterator[Pair]:
    direct, behind = Recorder(api_key=UPSTREAM_KEY), Recorder(api_key=UPSTREAM_KEY)
    async with (
        serve_simulator(direct) as direct_url,
        serve_simulator(behind) as behind_url,
        run_weir(with_upstream(settings, behind_url), behind) as running,
    ):
        yield Pair(direct, direct_url, behind, running)
        await weir.empty()


@pytest.mark.parametrize("name", PYTHON)
async def test_a_python_framework_cannot_tell_weir_from_openai(pair: Pair, name: str, tmp_path: Path) -> None:
    if not _PYTHON_PARTS.is_dir():
        pytest.skip("the frameworks are not installed: `make .venv/.frameworks` does it")
    _write_vocabulary(tmp_path)
    environment = {
        "PYTHONPATH": os.pathsep.join((str(_ROOT), str(_PYTHON_PARTS))),
        "TIKTOKEN_CACHE_DIR": str(tmp_path),
        # Nothing here speaks TLS; each client would read all of the machine's certificates.
        "SSL_CERT_DIR": str(tmp_path),
        "SSL_CERT_FILE": "",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
    }
    module = f"tests.scenarios.frameworks.{name}_program"
    told = await _run(tmp_path, environment, sys.executable, "-m", module, *await pair.servers())
    _assert_alike(pair, *told)


@pytest.mark.needs("node")
@pytest.mark.parametrize("name", NODE)
async def test_a_node_framework_cannot_tell_weir_from_openai(pair: Pair, name: str, tmp_path: Path) -> None:
    if not (_NODE_PARTS / "node_modules").is_dir():
        pytest.skip("the npm packages are not installed: `tests/install-parts` does it")
    for part in (*_PROGRAMS.glob("*.js"), _PROGRAMS / "package.json", _NODE_PARTS / "node_modules"):
        (tmp_path / part.name).symlink_to(part)
    # Else a module is looked for where its file really is, and there are no packages.
    options = ("--preserve-symlinks", "--preserve-symlinks-main")
    told = await _run(tmp_path, {}, "node", *options, f"{name}_program.js", *await pair.servers())
    _assert_alike(pair, *told)


async def _run(directory: Path, environment: dict[str, str], *command: str) -> list[dict[str, Any]]:
    """Return what a program saw at each server, by journey."""
    program = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_SECONDS_MAX):
            output, errors = await program.communicate()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    assert program.returncode == 0, errors.decode()[-3_000:]
    told: list[dict[str, Any]] = json.loads(output)
    return told


def _assert_alike(
    pair: Pair, expected: dict[str, Any], seen: dict[str, Any], poor: dict[str, Any], slow: dict[str, Any]
) -> None:
    assert expected.keys() == seen.keys()
    for name, value in expected.items():
        if name.startswith(_BROKEN_BY_THE_UPSTREAM):
            assert _errors(value), name
            assert _errors(seen[name]), f"{name}: what was cut was taken for the whole"
        elif name.startswith(_REFUSED_BY_WEIR):
            assert _errors(seen[name]) == _errors(value) != [], name
        else:
            assert lasting(seen[name]) == lasting(value), name
    for refused in (poor, slow):
        assert refused
        for name, value in refused.items():
            assert _errors(value) == _errors(expected[name]) != [], name
    arrived, wanted = pair.behind.requests(), pair.direct.requests()
    assert first_difference(wanted, arrived) is None
    assert len(arrived) == len(wanted) > 30


def _errors(value: Any) -> list[dict[str, Any]]:
    """Return all errors that *value* tells of, by what a program decides by: not their messages."""
    if isinstance(value, list):
        return [error for each in value for error in _errors(each)]
    if not isinstance(value, dict):
        return []
    if "kind" in value:
        return [{name: value[name] for name in _TOLD_OF_AN_ERROR if name in value}]
    return [error for each in value.values() for error in _errors(each)]


def _write_vocabulary(directory: Path) -> None:
    """Put the vocabulary that Weir brings along where tiktoken keeps what it has fetched."""
    content = (_ROOT / "app/gateway/vocabularies" / f"{_VOCABULARY}.tiktoken.gz").read_bytes()
    name = hashlib.sha1(_VOCABULARY_FETCHED_FROM.encode(), usedforsecurity=False).hexdigest()
    (directory / name).write_bytes(gzip.decompress(content))
