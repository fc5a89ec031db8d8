import logging
import os
import signal
import subprocess
from functools import partial
from pathlib import Path

import asyncpg
import pytest
import redis

from app.embedded.account import Account
from app.embedded.datadir import DataDirectory
from app.embedded.lock import FileLock
from app.embedded.process import Server
from app.embedded.servers import EmbeddedServerError, EmbeddedServers
from app.embedded.valkey import Valkey
from tests.embedded.probes import (
    WeirProcess,
    eventually,
    fetch,
    needs_proc,
    pids_that_name,
    read_row,
    redis_call,
    write_row,
)


def have_ended(data_dir: Path) -> bool:
    """Tell whether no process of either server is left, not even a backend."""
    locks = [FileLock(data_dir / "embedded" / name) for name in ("postgres.lock", "valkey.lock")]
    try:
        return all(lock.try_acquire() for lock in locks)
    finally:
        for lock in locks:
            lock.close()


def has_row(url: str, mark: str) -> bool:
    try:
        return read_row(url, mark)
    except (OSError, asyncpg.PostgresError):
        return False


def is_another(servers: EmbeddedServers, pid: int) -> bool:
    """Tell whether a Valkey other than *pid* answers."""
    try:
        return servers.valkey_pid != pid and bool(redis_call(servers.redis_url, "PING"))
    except redis.RedisError:
        return False


def test_a_killed_postgresql_comes_back_on_the_same_socket_with_its_rows(used_dir: Path) -> None:
    with EmbeddedServers(used_dir) as servers:
        url, pid = servers.database_url, servers.postgres_pid
        mark = write_row(url)
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: servers.postgres_pid != pid and has_row(url, mark))


def test_a_killed_valkey_comes_back_on_the_same_socket_again_and_again(used_dir: Path) -> None:
    with EmbeddedServers(used_dir, postgres=False) as servers:
        redis_call(servers.redis_url, "CONFIG", "SET", "appendfsync", "always")
        redis_call(servers.redis_url, "SET", "kept", "42")
        for _ in range(3):
            pid = servers.valkey_pid
            os.kill(pid, signal.SIGKILL)
            assert eventually(partial(is_another, servers, pid))
            assert redis_call(servers.redis_url, "GET", "kept") == "42"


@needs_proc
def test_a_restarted_server_has_one_guard(used_dir: Path) -> None:
    with EmbeddedServers(used_dir, postgres=False) as servers:
        pid = servers.valkey_pid
        os.kill(pid, signal.SIGKILL)
        assert eventually(partial(is_another, servers, pid))
        assert eventually(lambda: len(pids_that_name(used_dir)) == 2)
    assert eventually(lambda: not pids_that_name(used_dir))


@needs_proc
def test_a_guard_does_not_hold_its_servers_lock(used_dir: Path) -> None:
    with EmbeddedServers(used_dir):
        processes = pids_that_name(used_dir)
        for pid, line in processes.items():
            held = [fd.readlink().suffix for fd in Path(f"/proc/{pid}/fd").iterdir()]
            assert (".lock" in held) is ("weir-guard" not in line)


def test_a_server_that_keeps_ending_is_said_loudly_and_comes_back_once_it_can(
    used_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = DataDirectory(used_dir)
    valkey = Valkey(directory, durable=True)
    server = Server(valkey.prepare(), restart_delays_seconds=(0.0, 0.01))
    try:
        server.wait_until_ready()
        server.watch()
        configuration = directory.home / "valkey/valkey.conf"
        good = configuration.read_text()
        configuration.write_text("nonsense\n")
        os.kill(server.pid, signal.SIGKILL)
        assert eventually(lambda: any(record.levelno == logging.CRITICAL for record in caplog.records))
        assert "Valkey keeps ending" in caplog.text
        assert caplog.text.count("is started again") == 2
        configuration.write_text(good)
        assert eventually(lambda: server.launch.is_ready(server.pid))
    finally:
        server.stop()
        valkey.lock.close()
        directory.close()


def test_a_server_that_does_not_stop_is_killed(used_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = DataDirectory(used_dir)
    valkey = Valkey(directory, durable=True)
    server = Server(valkey.prepare())
    server.wait_until_ready()
    server.watch()
    os.kill(server.pid, signal.SIGSTOP)
    server.stop(timeout_seconds=0.05)
    valkey.lock.close()
    assert have_ended(used_dir)
    assert "did not stop in time" in caplog.text
    directory.close()


def test_the_servers_end_with_a_killed_weir_and_the_next_one_finds_every_row(used_dir: Path) -> None:
    with WeirProcess(used_dir) as weir:
        mark = write_row(weir.said["database_url"])
        redis_call(weir.said["redis_url"], "SET", "kept", "42")
        weir.end(kill=True)
    assert eventually(lambda: have_ended(used_dir))
    with EmbeddedServers(used_dir) as servers:
        assert read_row(servers.database_url, mark)
        assert redis_call(servers.redis_url, "GET", "kept") == "42"


def test_the_next_weir_need_not_wait_for_the_servers_of_a_killed_one(used_dir: Path) -> None:
    for _ in range(3):
        with WeirProcess(used_dir) as weir:
            mark = write_row(weir.said["database_url"])
            weir.end(kill=True)
        with EmbeddedServers(used_dir) as servers:
            assert read_row(servers.database_url, mark)


@needs_proc
def test_a_tree_killed_as_a_whole_starts_again(used_dir: Path) -> None:
    with WeirProcess(used_dir) as weir:
        mark = write_row(weir.said["database_url"])
        for pid in pids_that_name(used_dir):
            os.kill(pid, signal.SIGKILL)
    with EmbeddedServers(used_dir) as servers:
        assert read_row(servers.database_url, mark)


@needs_proc
def test_servers_that_lost_weir_and_their_guards_are_taken_over(used_dir: Path) -> None:
    with WeirProcess(used_dir) as weir:
        mark = write_row(weir.said["database_url"])
        guards = [pid for pid, line in pids_that_name(used_dir).items() if "weir-guard" in line]
        assert len(guards) == 2
        for pid in guards:
            os.kill(pid, signal.SIGKILL)
        weir.end(kill=True)
    assert not have_ended(used_dir)
    with EmbeddedServers(used_dir) as servers:
        assert servers.postgres_pid not in weir.said["pids"]
        assert read_row(servers.database_url, mark)


@needs_proc
def test_a_stale_pid_file_that_names_a_living_process_is_no_obstacle(used_dir: Path) -> None:
    with WeirProcess(used_dir):
        for pid in pids_that_name(used_dir):
            os.kill(pid, signal.SIGKILL)
    pid_file = used_dir / "embedded/postgres/data/postmaster.pid"
    account = Account.choose(used_dir / "embedded/postgres/data")
    with subprocess.Popen(["sleep", "60"], **account.popen_identity()) as living:
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(living.pid), *lines[1:]]) + "\n")
        try:
            with EmbeddedServers(used_dir) as servers:
                assert fetch(servers.database_url, "SELECT 1") == 1
            assert living.poll() is None
        finally:
            living.kill()


@needs_proc
def test_an_initdb_that_was_cut_short_is_done_again(data_dir: Path) -> None:
    weir = WeirProcess(data_dir, wait=False)
    unfinished = data_dir / "embedded/postgres.unfinished/data"
    assert eventually((unfinished / "PG_VERSION").exists)
    for pid in pids_that_name(data_dir):
        os.kill(pid, signal.SIGKILL)
    weir.end()
    assert (unfinished / "PG_VERSION").exists()
    assert not (data_dir / "embedded/postgres").exists()
    with EmbeddedServers(data_dir) as servers:
        assert fetch(servers.database_url, "SELECT 1") == 1
    assert not unfinished.exists()


def test_what_a_server_said_last_is_in_the_error(used_dir: Path) -> None:
    settings = used_dir / "embedded/postgres/data/postgresql.conf"
    good = settings.read_text()
    try:
        settings.write_text(good + "nonsense = 1\n")
        with pytest.raises(EmbeddedServerError, match=r'PostgreSQL did not start: (?s:.*)parameter "nonsense"'):
            EmbeddedServers(used_dir).start()
        assert have_ended(used_dir)
    finally:
        settings.write_text(good)
