"""Nothing that is committed belongs to one machine: no paths of a checkout or a home, no package registry's host."""

import os
import re
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

# Written in pieces, or this file would be the first to name them.
REGISTRIES = tuple(".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org")))
HOMES = re.compile(r"/(?:home|Users)/[a-z][\w.-]*/|(?<![\w./-])/[r]oot/")


def names_of_this_machine(root: Path) -> list[str]:
    """Return the paths of this checkout and of what lies beside it, unless that is the temporary directory."""
    beside = list(root.parent.iterdir()) if len(root.parts) > 2 and root.parent != Path(tempfile.gettempdir()) else []
    return sorted({str(path) for path in (root, *beside) if not path.name.startswith(".")})


def strays(path: str, text: str, machine: list[str]) -> Iterator[str]:
    """Yield a line for each place in *text* that works, or means something, on one machine only."""
    local = re.compile("|".join(rf"(?<![\w.:/-]){re.escape(name)}(?![\w.-])" for name in machine))
    for number, line in enumerate(text.splitlines(), 1):
        if local.search(line) or HOMES.search(line):
            yield f"{path}:{number}: names a path of one machine; make it relative to the repository"
        if any(host in line for host in REGISTRIES):
            yield f"{path}:{number}: names a package registry's host; lock files and hashes need none"


def committed() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every file that .gitignore lets in."""
    ignored = [name.rstrip("/") for name in (ROOT / ".gitignore").read_text("utf-8").splitlines() if name]
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name != ".git" and not any(fnmatch(name, each) for each in ignored)]
        for name in files:
            path = Path(folder, name)
            try:
                yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
            except UnicodeDecodeError:
                continue  # a picture or an archive


def test_nothing_committed_belongs_to_one_machine() -> None:
    machine = names_of_this_machine(ROOT)
    found = [line for path, text in committed() for line in strays(path, text, machine)]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "see /srv/weir/notes.md",
        "cd '/srv/weir'",
        "see /srv/plans/",
        *(f"in {'/'.join(('', *home, 'weir'))}" for home in (("home", "ann"), ("Users", "ann"), ("root",))),
        f"--index-url https://{REGISTRIES[0]}/simple",
        f"https://files.{REGISTRIES[1]}/packages/a.whl",
    ],
)
def test_a_stray_is_seen(text: str) -> None:
    assert list(strays("README.md", f"first\n{text}\n", ["/srv/plans", "/srv/weir"])) != []


@pytest.mark.parametrize(
    "text", ["/srv/weir-data", "https://example.org/srv/weir", "/var/lib/weir", "/home/", "./root/x"]
)
def test_other_paths_may_be_named(text: str) -> None:
    assert not list(strays("README.md", text, ["/srv/weir"]))


def test_the_walk_sees_what_is_committed_and_nothing_else() -> None:
    paths = {path for path, _ in committed()}

    assert {"Makefile", "app/errors.py", "requirements/runtime.lock", ".github/workflows/ci.yml"} <= paths
    assert not [path for path in paths if path.startswith((".venv/", ".git/")) or "__pycache__" in path]


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    pages = {path.name for path in folder.glob("[0-9]*.md")}
    index = (folder / "README.md").read_text("utf-8")

    assert pages == set(re.findall(r"\((\d{4}-[\w-]+\.md)\)", index))
