"""What the README tells people to type works."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.setting_names import setting_names
from tests.fixtures.weir import RunningWeir

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_each_command_of_the_readme_is_a_target_that_make_knows() -> None:
    commands = "".join(blocks("sh")).split("\n")
    targets = [command.removeprefix("make ") for command in commands if command]
    assert targets == ["run", "test"]
    for target in targets:
        planned = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert planned.returncode == 0, planned.stderr


def test_make_alone_lists_its_targets() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("run", "test", "test-all", "lint", "types", "format", "bench", "soak", "profile", "migrate", "docs"):
        assert f"{target} " in shown.replace("\x1b[0m", " ")


async def test_the_readmes_program_prints_an_answer_its_cost_and_its_receipt(weir: RunningWeir) -> None:
    [program] = blocks("python")
    program = program.replace("http://127.0.0.1:8000", weir.base_url).replace("wk-...", weir.api_key)
    process = await _run(program)
    assert "Say hello." in process
    assert re.search(r"cost: 0\.0\d+ receipt: req_[0-9a-f]{32}\n", process)
    [entry] = await weir.entries()
    assert entry["model"] == "sim-small"


async def _run(program: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_links_only_to_what_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_only_settings_that_exist(page: Path) -> None:
    known = set(setting_names())
    for name in re.findall(r"\bWEIR_[A-Z_]+\b", page.read_text(encoding="utf-8")):
        assert name in known or name.endswith("_") or name == "WEIR_POSTGRES_PASSWORD", name
