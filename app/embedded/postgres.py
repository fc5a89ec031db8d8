"""Makes and starts the PostgreSQL of a data directory: sockets only, SCRAM, checksums, one role, one database.

Must never touch a cluster of another major version, and never let a half-made cluster pass for a whole one.
"""

import os
import secrets
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Final

from app.embedded.datadir import DataDirectory
from app.embedded.failure import EmbeddedServerError, from_log
from app.embedded.lock import FileLock
from app.embedded.process import Launch, run_to_end, take_over
from app.embedded.programs import POSTGRES_BIN_VARIABLE, find_initdb, major_version, runnable

ROLE: Final = "weir"
DATABASE: Final = "weir"
CONNECTIONS_MAX: Final = 100
"""That it takes at once, unless it is asked for another number."""
_STATUS_LINE: Final = 7  # of postmaster.pid, as pg_ctl reads it (src/include/utils/pidfile.h)

_SETTINGS: Final = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "max_logical_replication_workers": "0",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "log_min_error_statement": "panic",  # statements may hold what must not be in a log
    "log_timezone": "UTC",
    "timezone": "UTC",
}
_NOT_DURABLE: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    """The cluster in `home/postgres`: `data`, who may log in, and the password of the role `weir`."""

    def __init__(
        self,
        directory: DataDirectory,
        *,
        durable: bool,
        bin_directory: Path | None,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._directory = directory
        self._durable = durable
        self._bin_directory = bin_directory
        self._connections_max = connections_max
        self._part = directory.home / "postgres"
        self.lock = FileLock(directory.home / "postgres.lock")

    def prepare(self) -> Launch:
        """Return how to start the server, after making its cluster if there is none.

        Raises EmbeddedServerError when the programs are missing or the cluster cannot be made or used.
        """
        take_over(self.lock, "PostgreSQL", signal.SIGINT)
        copies = self._directory.home / "programs"
        initdb, printed = runnable(find_initdb(self._bin_directory), self._directory.account, copies)
        major = major_version(printed)
        if not self._part.exists():
            self._make(initdb)
        self._check_version(major)
        # Nobody else has the lock, so no process has the cluster: what the file says is stale, and its process
        # number may belong to anybody by now, which would stop PostgreSQL from starting (often so in containers).
        (self._part / "data" / "postmaster.pid").unlink(missing_ok=True)
        return self._launch([str(initdb.with_name("postgres")), "-D", str(self._part / "data"), *self._options(major)])

    def url(self) -> str:
        """Return the URL of the database, as asyncpg and SQLAlchemy read it."""
        password = (self._part / "password").read_text(encoding="utf-8").strip()
        return f"postgresql://{ROLE}:{password}@/{DATABASE}?host={self._directory.sockets}"

    def _options(self, major: int) -> list[str]:
        settings = _SETTINGS | {
            "unix_socket_directories": str(self._directory.sockets),
            "hba_file": str(self._part / "pg_hba.conf"),
            "max_connections": str(self._connections_max),
        }
        if major >= 18:
            settings["io_method"] = "sync"  # no worker processes for a database that fits into memory
        if not self._durable:
            settings |= _NOT_DURABLE
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _launch(self, argv: list[str]) -> Launch:
        return Launch(
            name="PostgreSQL",
            argv=argv,
            stop_signal=signal.SIGINT,  # "fast": sessions are ended, everything is written
            log=self._directory.home / "postgres.log",
            lock=self.lock,
            account=self._directory.account,
            is_ready=self._is_ready,
        )

    def _is_ready(self, pid: int) -> bool:
        try:
            lines = (self._part / "data" / "postmaster.pid").read_bytes().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > _STATUS_LINE and lines[0] == b"%d" % pid and lines[_STATUS_LINE].strip() == b"ready"

    def _make(self, initdb: Path) -> None:
        unfinished = self._directory.home / "postgres.unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        data = self._directory.make(self._directory.make(unfinished) / "data", for_account=True)
        password = secrets.token_hex(24)
        self._directory.write(unfinished / "password", password + "\n")
        # Nobody may log in but the role that is made below: not the superuser, not over TCP, not for replication.
        self._run(
            [str(initdb), "-D", str(data), "--username=postgres", "--auth=reject", "--data-checksums"]
            + ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            + ["--no-instructions"]
            + ([] if self._durable else ["--no-sync"])
        )
        self._directory.write(unfinished / "pg_hba.conf", f"local all {ROLE} scram-sha-256\n", for_account=True)
        statements = unfinished / "role.sql"
        self._directory.write(
            statements,
            f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{password}'\nCREATE DATABASE {DATABASE} OWNER {ROLE}\n",
            for_account=True,
        )
        postgres = [str(initdb.with_name("postgres")), "--single", "-D", str(data)]
        postgres += ["-c", "exit_on_error=on", "-c", "log_min_error_statement=panic", "template1"]
        self._run(postgres, statements)
        statements.unlink()
        unfinished.rename(self._part)
        self._sync(self._directory.home)

    def _run(self, argv: list[str], statements: Path = Path(os.devnull)) -> None:
        launch = replace(self._launch(argv), input=statements)
        offset = launch.log.stat().st_size if launch.log.exists() else 0
        if run_to_end(launch) != 0:
            what = "PostgreSQL could not make its data directory"
            raise from_log(what, self._directory.path, launch.log, offset)

    def _sync(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _check_version(self, major: int) -> None:
        data = self._part / "data"
        try:
            version = (data / "PG_VERSION").read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            version = "unknown"
        if version != str(major):
            raise EmbeddedServerError(
                f"{data} was made by PostgreSQL {version}, and this is PostgreSQL {major}: set {POSTGRES_BIN_VARIABLE} "
                f"to the programs of version {version}, make a backup, and restore it into a new data directory"
            )
