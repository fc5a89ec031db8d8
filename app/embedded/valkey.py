"""Starts the Valkey of a data directory: a socket only, a password, an append-only file.

Must never evict (a limit would silently loosen), and never show its password in the list of processes.
"""

import secrets
import signal
import socket
from typing import Final

from app.embedded.datadir import DataDirectory
from app.embedded.lock import FileLock
from app.embedded.process import Launch, take_over
from app.embedded.programs import find_valkey, runnable

_PROBE_TIMEOUT_SECONDS: Final = 1.0


class Valkey:
    """The server in `home/valkey`: its configuration, which holds a password of this start only, and `data`."""

    def __init__(self, directory: DataDirectory, *, durable: bool) -> None:
        self._directory = directory
        self._durable = durable
        self._password = secrets.token_hex(24)
        self._socket = directory.sockets / "valkey.sock"
        self.lock = FileLock(directory.home / "valkey.lock")

    def prepare(self) -> Launch:
        """Return how to start the server.

        Raises EmbeddedServerError when the program is missing or cannot be run.
        """
        take_over(self.lock, "Valkey", signal.SIGTERM)
        home, account = self._directory.home, self._directory.account
        program, _ = runnable(find_valkey(), account, home / "programs")
        part = self._directory.make(home / "valkey")
        data = self._directory.make(part / "data", for_account=True)
        configuration = part / "valkey.conf"
        self._directory.write(configuration, self._configuration(str(data)), for_account=True)
        return Launch(
            name="Valkey",
            # Not as a file name: one with a `?` is taken as a pattern, and without a match Valkey would start with its
            # defaults, open to the network. For the same reason the port is said twice.
            argv=[str(program), "-", "--port", "0"],
            stop_signal=signal.SIGTERM,
            log=home / "valkey.log",
            lock=self.lock,
            account=account,
            is_ready=self._is_ready,
            input=configuration,
        )

    def url(self) -> str:
        """Return the URL of database 0, as redis-py reads it."""
        return f"unix://:{self._password}@{self._socket}?db=0"

    def _configuration(self, data: str) -> str:
        return "\n".join(
            (
                "port 0",
                f"unixsocket {self._socket}",
                "unixsocketperm 700",
                f"requirepass {self._password}",
                f"dir {_quoted(data)}",
                f"appendonly {'yes' if self._durable else 'no'}",
                'save ""',
                "maxmemory-policy noeviction",
                "shutdown-on-sigterm force",  # not "cannot exit now": nobody would be left to ask again
                "loglevel notice",
                "",
            )
        )

    def _is_ready(self, _pid: int) -> bool:
        reply = b""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PROBE_TIMEOUT_SECONDS)
            try:
                connection.connect(str(self._socket))
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                while reply.count(b"\r\n") < 2 and (more := connection.recv(256)):
                    reply += more
            except OSError:
                return False
        return reply.endswith(b"+PONG\r\n")  # while the append-only file is read it says -LOADING


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
