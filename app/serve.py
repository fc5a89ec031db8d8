"""Runs the API: in this process, or with several workers under gunicorn. The servers it needs are already there."""

import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
from types import FrameType
from typing import Final

import uvicorn

from app.settings import Server, Settings

APP: Final = "app.main:create_app"
_GC_THRESHOLD: Final = 10_000


class PortTaken(Exception):
    """Weir cannot listen where it was told to."""


def listen(settings: Server) -> socket.socket:
    """Return a socket that accepts connections already, so that nobody is refused while the rest starts.

    Raises PortTaken, saying what to do.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise PortTaken(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}): stop the program that does, "
            "or choose another port with --port or WEIR_SERVER__PORT"
        ) from None
    listener.set_inheritable(True)
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
    """Return how every process speaks HTTP."""
    return {
        "loop": "uvloop",
        "http": "httptools",
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": int(settings.keep_alive_seconds),
        "timeout_graceful_shutdown": int(settings.shutdown_grace_seconds),
    }


def run_here(settings: Server, listener: socket.socket) -> int:
    """Serve in this process until SIGTERM or SIGINT; return the exit status."""
    config = uvicorn.Config(APP, factory=True, **uvicorn_options(settings))  # type: ignore[arg-type]
    config.load()
    tune_collector()
    server = _Server(config)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn raises the signal again, after everything was closed
        return 0
    return 0 if server.started else 1


def run_workers(listener: socket.socket) -> int:
    """Serve with gunicorn's workers until told to stop; return the exit status.

    Gunicorn runs as a child: its workers need prometheus_client in its multi-process mode from the first import on,
    and this process looks after the embedded servers.
    """
    with tempfile.TemporaryDirectory(prefix="weir-metrics-") as directory:
        command = [sys.executable, "-m", "gunicorn", "--config", "python:app.gunicorn_conf", f"{APP}()"]
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": directory, "WEIR_LISTENER_FD": str(listener.fileno())}
        with subprocess.Popen(command, env=environment, pass_fds=[listener.fileno()]) as gunicorn:  # noqa: S603

            def forward(number: int, _: FrameType | None) -> None:
                gunicorn.send_signal(signal.SIGTERM if number == signal.SIGINT else number)

            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, forward)
            return gunicorn.wait()


def tune_collector() -> None:
    """Leave what was imported out of every collection, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Say in `/readyz` that this process is leaving, from the moment it is told to."""
        wiring = getattr(getattr(self.config.loaded_app, "state", None), "wiring", None)
        if wiring is not None:
            wiring.health.is_draining = True
        super().handle_exit(sig, frame)
