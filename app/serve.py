"""Runs the API: in this process, or with several workers under gunicorn. The servers it needs are already there."""

import asyncio
import errno
import fcntl
import gc
import importlib
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any, Final

import structlog
import uvicorn

from app.core.cores import usable_cores
from app.setting_groups import WORKERS_MAX, Server
from app.settings import Settings

APP_MODULE: Final = "app.main"
APP: Final = f"{APP_MODULE}:served"
_GC_THRESHOLD: Final = 10_000
_HAND_OVER_SECONDS: Final = 1.0
"""In which workers that were told to stop accept no more connections."""
# Gunicorn's standard input is a pipe that ends when Weir does, however Weir ends; then a guard tells gunicorn to stop.
# A line means that gunicorn has ended by itself. The guard must keep nothing open that somebody waits for the end of.
_GUARDED: Final = """
exec 3<&0 </dev/null
( exec >/dev/null 2>&1; trap "" HUP INT TERM; read -r line <&3 || kill -s TERM $$ ) &
exec "$@" 3<&-
"""

_log: Final = structlog.get_logger()


class PortTaken(Exception):
    """Weir cannot listen where it was told to."""


class DrainingServer(uvicorn.Server):
    """Uvicorn's server, which says in `/readyz` that it leaves, and returns when it has, whichever signal it was."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop accepting calls, and finish those that are open."""
        wiring = getattr(getattr(self.config.loaded_app, "state", None), "wiring", None)
        if wiring is not None:
            wiring.health.is_draining = True
        if not self.should_exit:
            # Not here: the signal may have interrupted the writing of another line, which holds the writer's lock.
            say = partial(_log.info, "stopping", open_connections=len(self.server_state.connections))
            asyncio.get_running_loop().call_soon_threadsafe(say)
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals until the server has ended, and not raise them once more then.

        Also that of a terminal which is closed, unless somebody has it ignored, as `nohup` does.
        """
        of_terminal = signal.getsignal(signal.SIGHUP)
        if of_terminal == signal.SIG_DFL:
            signal.signal(signal.SIGHUP, self.handle_exit)
        try:
            with super().capture_signals():
                yield
                self._captured_signals.clear()
        finally:
            signal.signal(signal.SIGHUP, of_terminal)


def listen(settings: Server) -> socket.socket:
    """Return a socket that accepts connections already, so that nobody is refused while the rest starts.

    Raises PortTaken, saying what to do.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server(
            (settings.host, settings.port),
            family=family,
            backlog=2048,
            dualstack_ipv6=settings.host == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        stop = "stop the program that does, or " if error.errno == errno.EADDRINUSE else ""
        raise PortTaken(
            f"cannot listen on {settings.host}:{settings.port} ({reason}): {stop}choose another address with --host "
            "and --port (WEIR_SERVER__HOST, WEIR_SERVER__PORT)"
        ) from None
    return listener


def export(settings: Settings) -> None:
    """Put what was completed into the environment, from which each process of Weir reads its settings."""
    for name, secret in (
        ("WEIR_DATABASE_URL", settings.database_url),
        ("WEIR_REDIS_URL", settings.redis_url),
        ("WEIR_KEYS__PEPPER", settings.keys.pepper),
    ):
        if secret is not None:
            os.environ[name] = secret.get_secret_value()


def uvicorn_options(settings: Server) -> dict[str, object]:
    """Return how every process speaks HTTP and WebSocket."""
    return {
        "loop": "uvloop",
        "interface": "asgi3",  # it would be taken for ASGI 2: what it calls are coroutines, and itself it is none
        "http": "app.http_protocol:HttpProtocol",
        "ws": "app.socket_protocol:SocketProtocol",
        "ws_max_size": settings.socket_message_size_bytes_max,
        "ws_ping_interval": settings.socket_ping_seconds,
        "ws_ping_timeout": settings.socket_ping_seconds,
        "ws_per_message_deflate": False,  # a few bytes that are many megabytes when they are unpacked
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": math.ceil(settings.keep_alive_seconds),
        "timeout_graceful_shutdown": math.ceil(settings.shutdown_grace_seconds),
    }


@contextmanager
def importing(*modules: str) -> Iterator[Callable[[str], Any]]:
    """Import *modules* in a thread while the block waits for servers; yield what waits for one of them and returns it.

    They come one after the other, and the block must import none of what they do: two threads inside of one library's
    circle of modules would see halves of it. What has not begun when the block ends is left out.
    """

    def load(module: str) -> Any:
        with collector_off():
            return importlib.import_module(module)

    with ThreadPoolExecutor(1, thread_name_prefix="import") as thread:
        futures = {module: thread.submit(load, module) for module in modules}
        thread.shutdown(wait=False)
        try:
            yield lambda module: futures[module].result()
        finally:
            thread.shutdown(cancel_futures=True)


def process_count(settings: Settings) -> int:
    """Return how many processes answer calls: as many as are asked for, else one for each core.

    One where Weir brings its servers along: that is a laptop, or somebody who has a look, and they want the cores too.
    """
    if settings.server.workers is not None:
        return settings.server.workers
    if settings.database_url is None or settings.redis_url is None:
        return 1
    return min(usable_cores(), WORKERS_MAX)


def run_here(settings: Server, listener: socket.socket) -> int:
    """Serve in this process until SIGTERM or SIGINT; return the exit status."""
    config = uvicorn.Config(APP, factory=True, **uvicorn_options(settings))  # type: ignore[arg-type]
    with collector_off():
        config.load()
    tune_collector()
    server = DrainingServer(config)
    server.run(sockets=[listener])
    return 0 if server.started else 1


def run_workers(listener: socket.socket, count: int) -> int:
    """Serve with so many workers of gunicorn's until told to stop; return the exit status.

    Gunicorn runs as a child: its workers need prometheus_client in its multi-process mode from the first import on,
    and this process looks after the embedded servers.
    """
    inherited_fd = fcntl.fcntl(listener, fcntl.F_DUPFD, 10)  # the guard's shell uses those below
    with tempfile.TemporaryDirectory(prefix="weir-metrics-") as directory:
        gunicorn = [sys.executable, "-m", "gunicorn", "--config", "python:app.gunicorn_conf", f"{APP}()"]
        with subprocess.Popen(  # noqa: S603 - the shell gets a constant; its parameters are ours too
            ["/bin/sh", "-c", _GUARDED, "weir-guard", *gunicorn],
            env={
                **os.environ,
                "PROMETHEUS_MULTIPROC_DIR": directory,
                "WEIR_LISTENER_FD": str(inherited_fd),
                "WEIR_SERVER__WORKERS": str(count),
            },
            stdin=subprocess.PIPE,
            pass_fds=[inherited_fd],
            start_new_session=True,  # a Ctrl-C in the terminal reaches this process only, which then asks for a drain
        ) as process:

            def forward(_number: int, _: FrameType | None) -> None:
                process.send_signal(signal.SIGTERM)
                # This process and the guard have the socket too: connections would wait there for nobody.
                closing = threading.Timer(_HAND_OVER_SECONDS, close_for_all, [listener])
                closing.daemon = True  # all may have ended before
                closing.start()

            # That of a terminal which is closed, unless somebody has it ignored, as `nohup` does.
            of_terminal = [signal.SIGHUP] * (signal.getsignal(signal.SIGHUP) == signal.SIG_DFL)
            for number in (signal.SIGTERM, signal.SIGINT, *of_terminal):
                signal.signal(number, forward)
            status = process.wait()
            process.communicate(b"\n")
            return status


def close_for_all(listener: socket.socket) -> None:
    """Accept no more connections on *listener*, whoever else has it open, where the system can do that."""
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def collector_off() -> Iterator[None]:
    """Collect nothing while modules are imported inside: none of that is garbage."""
    gc.disable()
    yield
    gc.enable()


def tune_collector() -> None:
    """Leave what was imported out of every collection, and collect less often."""
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
