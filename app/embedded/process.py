"""Starts a server process, watches it, starts it again when it dies, stops it. Must never leave one behind.

A server has a guard: a shell (about 0.1 MiB of its own) that waits on a pipe whose other end only Weir holds. The
pipe ends with Weir, however Weir ends, and then the guard tells the server to stop. Unlike PR_SET_PDEATHSIG
this also works on macOS, after a change of user, and when the thread that started the server is gone.
"""

import contextlib
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.core.clock import monotonic_seconds
from app.embedded.account import Account, clean_environment
from app.embedded.failure import EmbeddedServerError, from_log
from app.embedded.lock import FileLock

START_TIMEOUT_SECONDS: Final = 120.0  # replaying a long write-ahead log takes its time
STOP_TIMEOUT_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 30.0
RESTART_DELAYS_SECONDS: Final = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0, 5.0)
"""Between one end and the next start; then the last one, for as long as it takes."""
_POLL_SECONDS: Final = 0.005
_LOG_BYTES_MAX: Final = 10 * 1024 * 1024

# `$$` is the process that becomes the server. A line means "the server has ended", so that the guard never signals
# a process number that somebody else may have by then. The outer brackets make the guard nobody's child. The lock comes
# as standard output; the server inherits it as descriptor 4, the guard must not have it.
_GUARD: Final = """
exec 3<&0 </dev/null 4>&1 >&2
signal=$1; input=$2; shift 2
( trap "" HUP INT TERM; { read -r line <&3 || kill -s "$signal" $$; } 2>/dev/null & ) 4>&-
exec "$@" <"$input" 3<&-
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Launch:
    """All that is needed to start a server, again and again."""

    name: str
    argv: Sequence[str]
    stop_signal: signal.Signals
    log: Path
    lock: FileLock
    account: Account
    is_ready: Callable[[int], bool]
    """Asked with the server's pid whether it answers by now; must not block for long."""
    input: Path = Path(os.devnull)
    """What the program reads from its standard input; a place for secrets, which a command line is not."""

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process in a session of its own, where a Ctrl-C in the terminal does not reach it."""
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        log_fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        signal_name = self.stop_signal.name.removeprefix("SIG")
        try:
            process = subprocess.Popen(  # noqa: S603 - the shell gets a constant; argv are its parameters
                ["/bin/sh", "-c", _GUARD, "weir-guard", signal_name, str(self.input), *self.argv],
                bufsize=0,
                cwd="/",
                env=clean_environment(),
                stdin=subprocess.PIPE,
                stdout=self.lock.fd,
                stderr=log_fd,
                start_new_session=True,
                umask=0o077,
                **self.account.popen_identity(),
            )
        finally:
            os.close(log_fd)
        self.lock.note_pid(process.pid)
        return process


def run_to_end(launch: Launch) -> int:
    """Run a program that ends by itself, guarded like a server; return its exit status."""
    process = launch.spawn()
    try:
        return process.wait()
    finally:
        process.kill()
        process.wait()
        _dismiss_guard(process)


def take_over(lock: FileLock, name: str, stop_signal: signal.Signals) -> None:
    """Acquire a server's *lock*, first stopping the server that a killed Weir may have left behind.

    Raises EmbeddedServerError when that server does not end.
    """
    for number, seconds in ((stop_signal, STOP_TIMEOUT_SECONDS), (signal.SIGKILL, 5.0)):
        if lock.try_acquire():
            return
        pid = lock.holder_pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        if _poll(lock.try_acquire, seconds):
            return
    raise EmbeddedServerError(
        f"{name} of an earlier Weir (pid {lock.holder_pid()}) still runs in {lock.path.parent}: "
        "end it, then start Weir again"
    )


class Server:
    """One running server. From `watch` until `ask_to_stop` it is started again whenever it dies."""

    def __init__(self, launch: Launch, restart_delays_seconds: Sequence[float] = RESTART_DELAYS_SECONDS) -> None:
        self.launch = launch
        self._delays_seconds = restart_delays_seconds
        self._stopping = threading.Event()
        self._turn = threading.Lock()  # held to start or to signal, so that no server starts behind a stop's back
        self._watcher: threading.Thread | None = None
        self._log_offset = launch.log.stat().st_size if launch.log.exists() else 0
        self._process = launch.spawn()

    @property
    def pid(self) -> int:
        """The process number of the server, or of its last incarnation."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Return when the server answers; raise EmbeddedServerError when it ends instead, or takes too long."""
        launch = self.launch

        def is_decided() -> bool:
            return launch.is_ready(self.pid) or self._process.poll() is not None

        decided = _poll(is_decided, START_TIMEOUT_SECONDS)
        if decided and self._process.poll() is None:
            return
        what = "did not start" if decided else f"did not answer within {START_TIMEOUT_SECONDS:.0f} seconds"
        raise from_log(f"{launch.name} {what}", launch.lock.path.parent, launch.log, self._log_offset)

    def watch(self) -> None:
        """Start the thread that starts the server again when it dies."""
        self._watcher = threading.Thread(target=self._watch, name=f"watch-{self.launch.name}", daemon=True)
        self._watcher.start()

    def ask_to_stop(self) -> None:
        """Tell the server to end, and do not wait for it."""
        self._stopping.set()
        with self._turn:
            self._process.send_signal(self.launch.stop_signal)

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """Return when the server has ended, by force after *timeout_seconds*."""
        self.ask_to_stop()
        if not self._has_ended(timeout_seconds):
            logger.warning("%s (pid %d) did not stop in time and is killed", self.launch.name, self.pid)
            self._process.kill()
            self._has_ended(None)
        _dismiss_guard(self._process)

    def _has_ended(self, timeout_seconds: float | None) -> bool:
        if self._watcher is not None:
            self._watcher.join(timeout_seconds)
            return not self._watcher.is_alive()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_seconds)
        return self._process.returncode is not None

    def _watch(self) -> None:
        name = self.launch.name
        restarts = 0
        started = monotonic_seconds()
        while True:
            status = self._process.wait()
            _dismiss_guard(self._process)
            if self._stopping.is_set():
                return
            if monotonic_seconds() - started > STEADY_SECONDS:
                restarts = 0
            last = len(self._delays_seconds) - 1
            if restarts < last:
                logger.error("%s (pid %d) ended with status %d and is started again", name, self.pid, status)
            elif restarts == last:
                seconds = self._delays_seconds[last]
                text = "%s keeps ending (status %d), and is started again every %g seconds; see %s"
                logger.critical(text, name, status, seconds, self.launch.log)
            if self._stopping.wait(self._delays_seconds[min(restarts, last)]):
                return
            restarts += 1
            started = monotonic_seconds()
            self._start_again()

    def _start_again(self) -> None:
        with self._turn:
            if self._stopping.is_set():
                return
            try:
                self._process = self.launch.spawn()
            except OSError:
                logger.exception("%s could not be started", self.launch.name)


def _dismiss_guard(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None and not process.stdin.closed:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b"\n")
        process.stdin.close()


def _poll(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    deadline = monotonic_seconds() + timeout_seconds
    pause = threading.Event()
    while not condition():
        if monotonic_seconds() > deadline:
            return False
        pause.wait(_POLL_SECONDS)
    return True
