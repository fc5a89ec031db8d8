"""A Weir in a process of its own, started as a person starts it, in a directory where nothing is yet."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from tests.fixtures.ports import free_port

PATIENCE_SECONDS = 45
_COMMAND = [sys.executable, "-m", "app"]
# Makes its standard input the terminal of a session of its own, where a Ctrl-C that is typed becomes a SIGINT.
_IN_TERMINAL = [
    sys.executable,
    "-c",
    """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY)
os.execv(sys.argv[1], sys.argv[1:])
""",
]


@contextlib.contextmanager
def empty_directory() -> Iterator[Path]:
    """Yield a new directory that every user may enter: as root, the embedded servers run as another one."""
    directory = Path(tempfile.mkdtemp(prefix="weir-process-"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def environment(directory: Path, **variables: str) -> dict[str, str]:
    """Return this process's environment without settings of Weir's, with *variables*, and an empty home."""
    foreign = ("WEIR_", "OPENAI_", "PROMETHEUS_", "COVERAGE_", "COV_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**inherited, "HOME": str(directory), "WEIR_DATA_DIR": str(directory / "data"), **variables}


def run(directory: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(
        command,
        cwd=directory,
        env=environment(directory, **variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def run_weir(directory: Path, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a `weir` command that ends by itself."""
    return run(directory, *_COMMAND, *args, **variables)


class WeirProcess:
    """A running `weir serve`, or another command of Weir's that goes on; its output is read as it comes."""

    def __init__(
        self, directory: Path, *args: str, in_terminal: bool = False, variables: Mapping[str, str] | None = None
    ) -> None:
        self.directory = directory
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._text = ""
        self._has_ended = False
        self._news = threading.Condition()
        self._terminal, output = pty.openpty() if in_terminal else os.pipe()
        self._process = subprocess.Popen(
            [*(_IN_TERMINAL if in_terminal else ()), *_COMMAND, *(args or ("serve",)), "--port", str(self.port)],
            cwd=directory,
            env=environment(directory, TERM="xterm", **(variables or {})),
            stdin=output if in_terminal else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        os.close(output)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything that was written so far, to standard output and standard error."""
        with self._news:
            return self._text

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        lines = [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def wait_for(self, text: str, count: int = 1) -> None:
        """Return when *text* was written *count* times; fails when the process ends before."""
        with self._news:
            self._news.wait_for(lambda: self._text.count(text) >= count or self._has_ended, PATIENCE_SECONDS)
            assert self._text.count(text) >= count, f"no {text!r} came:\n{self._text}"

    def wait_until_started(self, workers: int = 1) -> None:
        """Return when every worker can answer."""
        self.wait_for('"event":"started"', workers)

    def type_interrupt(self) -> None:
        """Press Ctrl-C in the terminal."""
        os.write(self._terminal, b"\x03")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit status, when the process has ended and so has everybody who could write to its output."""
        status = self._process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        assert not self._reader.is_alive(), "somebody is left who holds its output open"
        return status

    def stop(self) -> int:
        """Ask it to end with SIGTERM and return its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def key(self, kind: str) -> str:
        """Return the first key that was printed for *kind*, `API` or `admin`."""
        found = re.search(rf"{kind} key +(\S+)", self.output)
        assert found, self.output
        return found[1]

    def server_pids(self) -> list[int]:
        """Return the process numbers of the embedded servers, as their lock files have them."""
        locks = self.directory / "data" / "embedded"
        return [int((locks / f"{name}.lock").read_text()) for name in ("postgres", "valkey")]

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it any more
            while data := os.read(self._terminal, 65_536):
                with self._news:
                    self._text += data.decode().replace("\r\n", "\n")
                    self._news.notify_all()
        with self._news:
            self._has_ended = True
            self._news.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.stop()
        os.close(self._terminal)


def is_running(pid: int) -> bool:
    """Tell whether the process is there, and not just waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def group_of(pid: int) -> list[int]:
    """Return the process numbers of *pid*, its children, their children, and so on."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for known in found:  # grows while it is walked
        found += [child for child, parent in parents.items() if parent == known]
    return found
