"""Gunicorn's configuration, read by `weir serve --workers N` only."""

import os
from typing import Any

from uvicorn_worker import UvicornWorker

from app.observability.metrics import forget_worker
from app.serve import tune_collector, uvicorn_options
from app.settings import load_settings

_server = load_settings().server


class Worker(UvicornWorker):  # type: ignore[misc]
    """A worker that speaks HTTP as a single process does."""

    CONFIG_KWARGS = uvicorn_options(_server)


bind = f"fd://{os.environ['WEIR_LISTENER_FD']}"
workers = _server.workers
worker_class = "app.gunicorn_conf.Worker"
graceful_timeout = int(_server.shutdown_grace_seconds) + 5
timeout = 60
accesslog = None
errorlog = "-"
loglevel = "warning"


def post_worker_init(_worker: Any) -> None:
    """Tune a new worker."""
    tune_collector()


def child_exit(_server: Any, worker: Any) -> None:
    """Take a worker that died out of the metrics."""
    forget_worker(worker.pid)
