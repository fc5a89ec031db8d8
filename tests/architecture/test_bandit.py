"""What bandit says of the code: nothing that is not answered where it stands."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def bandit(place: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bandit", "--quiet", "--configfile", "pyproject.toml", "--recursive", str(place)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def test_bandit_finds_nothing() -> None:
    found = bandit(ROOT / "app")
    assert (found.returncode, found.stdout) == (0, "")


def test_bandit_finds_what_is_planted(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text("import yaml\n\nyaml.load(open('x'), Loader=yaml.Loader)\n")
    assert "B506" in bandit(tmp_path).stdout
