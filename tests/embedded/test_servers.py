import os
import stat
from pathlib import Path

import asyncpg
import pytest
import redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from app.embedded.servers import EmbeddedServerError, EmbeddedServers
from tests.embedded.probes import (
    WeirProcess,
    eventually,
    fetch,
    needs_proc,
    pids_that_name,
    read_row,
    redis_call,
    run,
    write_row,
)


def test_both_servers_answer_and_keep_their_data_over_a_restart(used_dir: Path) -> None:
    with EmbeddedServers(used_dir) as servers:
        mark = write_row(servers.database_url)
        redis_call(servers.redis_url, "SET", mark, "kept")
    with EmbeddedServers(used_dir) as servers:
        assert read_row(servers.database_url, mark)
        assert redis_call(servers.redis_url, "GET", mark) == "kept"


@pytest.mark.usefixtures("readable_programs")
def test_paths_with_special_characters_survive_the_urls(parent: Path) -> None:
    with EmbeddedServers(parent / 'a "b", c%20?#é\\\'', durable=False) as servers:
        assert redis_call(servers.redis_url, "PING") is True
        assert fetch(servers.database_url, "SELECT 1") == 1


def test_sqlalchemy_understands_the_url(running: EmbeddedServers) -> None:
    async def current_user() -> object:
        engine = create_async_engine(running.database_url.replace("postgresql://", "postgresql+asyncpg://"))
        async with engine.connect() as connection:
            name = (await connection.execute(text("SELECT current_user"))).scalar_one()
        await engine.dispose()
        return name

    assert run(current_user()) == "weir"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("listen_addresses", ""),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("shared_buffers", "64MB"),
        ("max_connections", "100"),
        ("log_min_messages", "warning"),
        ("unix_socket_permissions", "0700"),
    ],
)
def test_the_cluster_is_set_up_safely(running: EmbeddedServers, setting: str, value: str) -> None:
    assert fetch(running.database_url, f"SHOW {setting}") == value


def test_letters_beyond_ascii_have_their_case(running: EmbeddedServers) -> None:
    assert fetch(running.database_url, "SELECT lower('ÄÖ')") == "äö"


def test_the_role_is_not_a_superuser_and_owns_its_database(running: EmbeddedServers) -> None:
    assert fetch(running.database_url, "SELECT rolsuper FROM pg_roles WHERE rolname = 'weir'") is False
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'weir'"
    assert fetch(running.database_url, owner) == "weir"


def test_a_wrong_password_is_refused_by_both(running: EmbeddedServers) -> None:
    password = running.database_url.split(":")[2].split("@")[0]
    with pytest.raises(asyncpg.InvalidPasswordError):
        fetch(running.database_url.replace(password, "wrong"), "SELECT 1")
    secret = running.redis_url.split(":")[2].split("@")[0]
    with pytest.raises(redis.AuthenticationError):
        redis_call(running.redis_url.replace(secret, "wrong"), "PING")


def test_the_superuser_cannot_log_in(running: EmbeddedServers) -> None:
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        fetch(running.database_url.replace("weir:", "postgres:"), "SELECT 1")


@pytest.mark.parametrize(
    ("setting", "value"), [("port", "0"), ("appendonly", "yes"), ("maxmemory-policy", "noeviction"), ("save", "")]
)
def test_valkey_is_set_up_safely(running: EmbeddedServers, setting: str, value: str) -> None:
    assert redis_call(running.redis_url, "CONFIG", "GET", setting) == {setting: value}


@needs_proc
def test_no_password_is_in_the_list_of_processes(running: EmbeddedServers, running_dir: Path) -> None:
    passwords = [url.split(":")[2].split("@")[0] for url in (running.database_url, running.redis_url)]
    lines = list(pids_that_name(running_dir).values())
    assert len(lines) == 4  # two servers, two guards
    assert not any(password in line for line in lines for password in passwords)


def test_sockets_and_secrets_are_closed_to_others(running: EmbeddedServers, running_dir: Path) -> None:
    home = running_dir / "embedded"
    for name in ("run", "postgres/data", "valkey/data"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o700, name
    for name in ("postgres/password", "valkey/valkey.conf", "postgres.log", "valkey.log", "weir.lock"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600, name


def test_the_servers_are_out_of_reach_of_the_terminals_interrupt(running: EmbeddedServers) -> None:
    assert len({os.getsid(pid) for pid in (0, running.postgres_pid, running.valkey_pid)}) == 3


@needs_proc
def test_stop_ends_everything_and_may_be_called_again(used_dir: Path) -> None:
    servers = EmbeddedServers(used_dir)
    servers.stop()
    servers.start()
    servers.start()
    assert len(pids_that_name(used_dir)) == 4
    servers.stop()
    servers.stop()
    assert eventually(lambda: not pids_that_name(used_dir))
    assert not (used_dir / "embedded/run").exists()
    with pytest.raises(EmbeddedServerError, match="not running"):
        _ = servers.database_url


def test_only_what_was_asked_for_is_started(used_dir: Path) -> None:
    with EmbeddedServers(used_dir, postgres=False) as servers:
        assert redis_call(servers.redis_url, "PING") is True
        with pytest.raises(EmbeddedServerError, match="PostgreSQL is not running"):
            _ = servers.database_url
    with EmbeddedServers(used_dir, valkey=False) as servers:
        assert fetch(servers.database_url, "SELECT 1") == 1
        with pytest.raises(EmbeddedServerError, match="Valkey is not running"):
            _ = servers.redis_url


def test_without_durability_nothing_is_written_through(used_dir: Path) -> None:
    with EmbeddedServers(used_dir, durable=False) as servers:
        assert fetch(servers.database_url, "SHOW fsync") == "off"
        assert redis_call(servers.redis_url, "CONFIG", "GET", "appendonly") == {"appendonly": "no"}


def test_a_forked_child_that_leaves_does_not_stop_the_servers(used_dir: Path) -> None:
    with WeirProcess(used_dir, "fork") as weir:
        assert redis_call(weir.said["redis_url"], "PING") is True
