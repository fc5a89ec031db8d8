"""Gunicorn's configuration, read by `weir serve --workers N` only."""

import asyncio
import itertools
import math
import os
import signal
import sys
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from uvicorn_worker import UvicornWorker

import app.main  # noqa: F401 - before the fork, so that workers share it and start at once
from app.observability.logging import capture_stdlib, configure
from app.observability.metrics import forget_worker, take_place
from app.serve import DrainingServer, tune_collector, uvicorn_options
from app.settings import load_settings

_settings = load_settings()
_START_AGAIN_SECONDS = 1.0
_LOOK_SECONDS = 1.0


class Log(Logger):  # type: ignore[misc]
    """Gunicorn's own words, as lines of Weir's log."""

    def setup(self, cfg: Any) -> None:
        """Hand every record to Weir's logger."""
        super().setup(cfg)
        capture_stdlib(configure(_settings.log), _settings.log)


class Worker(UvicornWorker):  # type: ignore[misc]
    """A worker that speaks HTTP, and stops, as a single process does."""

    CONFIG_KWARGS = uvicorn_options(_settings.server)

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = DrainingServer(self.config)
        self._install_sigquit_handler()
        watching = asyncio.create_task(self._leave_with_parent(server))
        try:
            await server.serve(sockets=self.sockets)
        except SystemExit:  # it could not start
            if self.age <= workers:
                sys.exit(Arbiter.WORKER_BOOT_ERROR)  # nor could the first ones: gunicorn ends, and says so
            # It replaces a dead one, perhaps while the database is away: the others go on, and it is tried again.
            await asyncio.sleep(_START_AGAIN_SECONDS)
            sys.exit(1)
        finally:
            watching.cancel()

    async def _leave_with_parent(self, server: DrainingServer) -> None:
        """Stop when gunicorn was killed: nobody else would end this worker, which has the port."""
        while os.getppid() == self.ppid:  # noqa: ASYNC110 - the system has no event for it
            await asyncio.sleep(_LOOK_SECONDS)
        server.handle_exit(signal.SIGTERM, None)


bind = f"fd://{os.environ['WEIR_LISTENER_FD']}"
workers = _settings.server.workers
worker_class = "app.gunicorn_conf.Worker"
logger_class = Log
graceful_timeout = math.ceil(_settings.server.shutdown_grace_seconds) + 5
timeout = 60
control_socket_disable = True


def when_ready(_server: Any) -> None:
    """Tune the process that workers are forked from."""
    tune_collector()


def pre_fork(server: Any, worker: Any) -> None:
    """Give a worker the first place that is free: that of a dead one, if there is one."""
    taken = {each.place for each in server.WORKERS.values()}
    worker.place = next(place for place in itertools.count(1) if place not in taken)


def post_fork(_server: Any, worker: Any) -> None:
    """Let a worker count on where the last one in its place has ended."""
    take_place(worker.place)


def child_exit(_server: Any, worker: Any) -> None:
    """Take a worker that died out of the metrics."""
    forget_worker(worker.place)
