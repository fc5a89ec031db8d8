"""The processes of a run: gateways, PostgreSQL and Valkey, to be killed and started again; the simulator, which is not.

None outlives this process, however it ends: each has a guard that waits on a pipe from here.
"""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from app.embedded.datadir import DataDirectory
from app.embedded.postgres import Postgres
from app.embedded.valkey import Valkey
from tests.fixtures.own_servers import OwnServer
from tests.process.weir_process import environment

# As in app/serve.py: a line means that the program has ended, so that a process number of somebody else is never hit.
_GUARDED = """
exec 3<&0 </dev/null
( exec >/dev/null 2>&1; trap "" HUP INT TERM; read -r line <&3 || kill -s KILL $$ ) &
exec "$@" 3<&-
"""
_START_SECONDS = 120.0
_POLL_SECONDS = 0.05


class Program:
    """One command of Weir's on a port of its own; started again whenever it ends, unless it was told to stay away."""

    def __init__(self, directory: Path, name: str, *command: str, variables: dict[str, str] | None = None) -> None:
        self.name = name
        self.port = _quiet_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.log = directory / f"{name}.log"
        self.started = 0
        """How often it came up."""
        self.failed_starts = 0
        """How often it ended by itself, as when the database was not there yet."""
        self._command = [sys.executable, "-m", "app", *command, "--port", str(self.port)]
        self._directory = directory
        self._environment = environment(directory, **(variables or {}))
        self._is_up = asyncio.Event()
        self._is_wanted = asyncio.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = asyncio.create_task(self._keep(), name=f"keeper of {name}")

    @property
    def is_up(self) -> bool:
        return self._is_up.is_set()

    def start(self) -> None:
        """Let it be started."""
        self._is_wanted.set()

    async def wait_until_up(self, timeout_seconds: float = _START_SECONDS) -> None:
        """Return when it accepts calls; raises TimeoutError with the end of its log."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._is_up.wait()
        except TimeoutError:
            said = self.log.read_text("utf-8", "replace")[-2_000:]
            raise TimeoutError(f"{self.name} did not start within {timeout_seconds} s:\n{said}") from None

    async def kill(self) -> None:
        """End it with SIGKILL, and return when it is gone; it stays away until `start`."""
        self._is_wanted.clear()
        if self._process is not None:
            self._process.kill()
            await self._wait_for_end(self._process)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        if self._process is not None:
            self._process.send_signal(number)

    async def close(self) -> None:
        """End it for good."""
        self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper
        await self.kill()

    async def _keep(self) -> None:
        while True:
            await self._is_wanted.wait()
            process = self._process = self._spawn()
            while process.poll() is None and not self.is_up:
                if await self._answers():
                    self.started += 1
                    self._is_up.set()
                await asyncio.sleep(_POLL_SECONDS)
            await self._wait_for_end(process)
            if self._is_wanted.is_set():
                self.failed_starts += 1
                await asyncio.sleep(4 * _POLL_SECONDS)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", _GUARDED, "weir-guard", *self._command],
                bufsize=0,
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    async def _wait_for_end(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:  # noqa: ASYNC110 - asyncio's own children need a watcher, and outlive no loop
            await asyncio.sleep(_POLL_SECONDS / 5)
        self._is_up.clear()
        _dismiss_guard(process.stdin)

    async def _answers(self) -> bool:
        """Tell whether it answers HTTP: its port accepts connections from the first moment on."""
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                try:
                    return (await reader.readline()).startswith(b"HTTP/1.1 ")
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False


@contextmanager
def own_postgres(directory: DataDirectory) -> Iterator[OwnServer]:
    """Start a PostgreSQL as `weir serve` does, fsync and all; only its recovery syncs files in the quickest way."""
    part = Postgres(directory, durable=True, bin_directory=None)
    launch = part.prepare()
    quickly = ["-c", "recovery_init_sync_method=syncfs"] if sys.platform == "linux" else []
    server = OwnServer(replace(launch, argv=[*launch.argv, *quickly]), part.url())
    try:
        yield server
    finally:
        server.stop()
        part.lock.close()


@contextmanager
def own_valkey(directory: DataDirectory) -> Iterator[OwnServer]:
    """Start a Valkey as `weir serve` does; its password stays the same when it is started again."""
    part = Valkey(directory, durable=True)
    server = OwnServer(part.prepare(), part.url())
    try:
        yield server
    finally:
        server.stop()
        part.lock.close()


def _dismiss_guard(stdin: IO[bytes] | None) -> None:
    if stdin is not None and not stdin.closed:
        with suppress(BrokenPipeError):
            stdin.write(b"\n")
        stdin.close()


def _quiet_port() -> int:
    """Return a port that is free, and that the system does not give to outgoing connections meanwhile."""
    while True:
        port = random.randrange(15_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def data_directory(directory: Path) -> DataDirectory:
    """Return where the servers of a run keep their data."""
    os.chmod(directory, 0o711)  # noqa: PTH101 - as root, the servers run as another user
    return DataDirectory(directory / "data")
