import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded.datadir import ROOTS_HOME, SOCKET_DIRECTORY_BYTES_MAX
from app.embedded.servers import EmbeddedServerError, EmbeddedServers
from tests.embedded.probes import WeirProcess, fetch, needs_root, redis_call


def test_a_very_long_path_gets_short_sockets_that_do_not_stay(parent: Path) -> None:
    data_dir = parent / ("long" * 30) / "data"
    with WeirProcess(data_dir) as weir:
        sockets = (data_dir / "embedded/run").readlink()
        assert len(str(sockets)) <= SOCKET_DIRECTORY_BYTES_MAX
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert fetch(weir.said["database_url"], "SELECT 1") == 1
        assert redis_call(weir.said["redis_url"], "PING") is True
        weir.end(kill=True)
    with EmbeddedServers(data_dir, postgres=False):
        assert not sockets.exists()
        sockets = (data_dir / "embedded/run").readlink()
        assert sockets.exists()
    assert not sockets.exists()


def test_a_second_weir_is_told_who_has_the_directory(used_dir: Path) -> None:
    with EmbeddedServers(used_dir, postgres=False) as servers:
        with pytest.raises(EmbeddedServerError, match=f"{used_dir} is in use by another Weir \\(pid {os.getpid()}\\)"):
            EmbeddedServers(used_dir).start()
        assert redis_call(servers.redis_url, "PING") is True


def test_a_refused_second_weir_in_another_process_leaves_the_first_alone(used_dir: Path) -> None:
    with WeirProcess(used_dir) as weir:
        with WeirProcess(used_dir) as second:
            assert f"in use by another Weir (pid {weir.process.pid})" in second.said["error"]
        assert redis_call(weir.said["redis_url"], "PING") is True


@pytest.mark.parametrize("version", ["16", None])
def test_the_cluster_of_another_major_version_is_refused_and_untouched(data_dir: Path, version: str | None) -> None:
    data = data_dir / "embedded/postgres/data"
    data.mkdir(parents=True)
    if version:
        (data / "PG_VERSION").write_text(f"{version}\n")
    with pytest.raises(EmbeddedServerError, match=rf"{data} was made by PostgreSQL {version or 'unknown'}, and this"):
        EmbeddedServers(data_dir, valkey=False).start()
    assert [file.name for file in data.iterdir()] == (["PG_VERSION"] if version else [])


def test_a_file_in_the_place_of_the_directory_is_named(parent: Path) -> None:
    (parent / "data").write_text("")
    before = set(ROOTS_HOME.glob("*"))
    with pytest.raises(EmbeddedServerError, match=f"{parent}/data is not a directory: "):
        EmbeddedServers(parent / "data").start()
    assert set(ROOTS_HOME.glob("*")) <= before


@pytest.fixture
def tiny_disk(parent: Path) -> Iterator[Path]:
    place = parent / "tiny"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m,mode=0755", "tmpfs", place], check=False).returncode:
        pytest.skip("this container may not mount a file system")
    yield place
    subprocess.run(["umount", place], check=True)


@needs_root
def test_a_full_disk_is_told_and_is_no_obstacle_when_it_has_room_again(tiny_disk: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=f"disk that holds {tiny_disk}/data is full: free some space"):
        EmbeddedServers(tiny_disk / "data").start()
    subprocess.run(["mount", "-o", "remount,size=200m", tiny_disk], check=True)
    with EmbeddedServers(tiny_disk / "data") as servers:
        assert fetch(servers.database_url, "SELECT 1") == 1


@needs_root
def test_a_read_only_file_system_is_told(tiny_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    with pytest.raises(EmbeddedServerError, match=f"{tiny_disk}/data is on a read-only file system"):
        EmbeddedServers(tiny_disk / "data").start()


def test_a_link_that_leads_nowhere_is_told(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "embedded").symlink_to(data_dir / "gone")
    with pytest.raises(EmbeddedServerError, match=f"{data_dir}/embedded leads to {data_dir}/gone, which is gone"):
        EmbeddedServers(data_dir).start()
    (data_dir / "embedded").unlink()
