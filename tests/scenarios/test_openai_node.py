"""openai-node: through Weir a program sees what it would see without it."""

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.weir import UPSTREAM_KEY, RunningWeir

pytestmark = pytest.mark.needs("node", "npm")

_SOURCES = Path(__file__).with_name("node")
_INSTALL = ("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
_INSTALL_SECONDS = 120


async def _run(directory: Path, *command: str, seconds: float) -> tuple[int, str, str]:
    environment = {**os.environ, "npm_config_cache": str(directory / "cache"), "npm_config_update_notifier": "false"}
    program = await asyncio.create_subprocess_exec(
        *command, cwd=directory, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await program.communicate()
    except TimeoutError:
        program.kill()
        await program.wait()
        return -1, "", f"no end after {seconds} seconds"
    return program.returncode or 0, output.decode(), errors.decode()


async def test_a_node_program_sees_the_same_through_weir_as_directly(weir: RunningWeir, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(_SOURCES, tmp_path / "node"))
    status, _, errors = await _run(directory, *_INSTALL, seconds=_INSTALL_SECONDS)
    if status != 0:
        pytest.skip(f"npm cannot install openai-node: {errors.strip()[-300:]}")
    servers = [weir.settings.openai_base_url, UPSTREAM_KEY, f"{weir.base_url}/v1", weir.api_key]
    status, output, errors = await _run(directory, "node", "journeys.js", *servers, seconds=60)
    assert status == 0, errors
    told: dict[str, Any] = json.loads(output)
    expected, seen = told["seen"]
    assert len(seen) == 16
    for name, value in expected.items():
        assert value not in ("no error", [], {}), name
        assert seen[name] == value, name
    assert seen["rate limit"]["class"] == "RateLimitError"
    assert seen["error inside a stream"]["class"] == "APIError"
    wanted: dict[str, Any] = json.loads((_SOURCES / "package.json").read_text())
    assert told["version"] == wanted["dependencies"]["openai"]
    assert len(await weir.entries()) == len([c for c in weir.arrivals if c.path.endswith("ions")]) // 2
