"""What Prometheus may know of this process: calls, tokens, cost, and whether what Weir needs is there.

Every label comes from a bounded set. Children are bound once and kept, as looking them up costs more than counting.
Calls are counted together, a moment later: prometheus_client takes a lock for each number, and two for each duration.
"""

import asyncio
import os
from datetime import datetime
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
    multiprocess,
    values,
)

from app.core.money import NANO_PER_USD, Nano
from app.observability.call_metrics import CallMetrics
from app.observability.context import CallContext
from app.observability.http_metrics import Finished, HttpMetrics
from app.observability.upstream_metrics import UpstreamMetrics

_MULTIPROCESS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_GATHERING_SECONDS: Final = 0.05
_FLUSH_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """Weir's own metrics, in *registry*: one of its own unless one is given."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._finished: list[Finished] = []
        """Calls that are not counted yet."""
        if registry is None:
            _declare_process(self.registry)
        self._http = HttpMetrics(self.registry)
        self.upstreams = UpstreamMetrics(self.registry)
        self._calls = CallMetrics(self.registry)
        self._declare_errors(self.registry)
        self._declare_state(self.registry)
        self._declare_limits(self.registry)
        self._declare_reconciliation(self.registry)

    def call_finished(self, call: CallContext, duration_seconds: float) -> None:
        """Count a call that has ended, soon; the gateway's calls have an outcome, the others count as HTTP only."""
        self._finished.append(Finished(call, duration_seconds))
        if len(self._finished) == 1:
            try:
                asyncio.get_running_loop().call_later(_GATHERING_SECONDS, self.count_finished)
            except RuntimeError:  # nothing runs here that would come back to it
                self.count_finished()

    def count_finished(self) -> None:
        """Count what has ended until now; on the event loop, as all of this, before metrics are shown."""
        finished, self._finished = self._finished, []
        self._http.count(finished)
        self._calls.count(finished)

    def deprecated_route_used(self, route: str) -> None:
        """Count a call to a route that is going away; *route* is its template."""
        self._deprecated_calls.labels(route).inc()

    def operational_error(self, code: str) -> None:
        """Count an answer that Weir or an upstream could not give."""
        self._operational_errors.labels(code).inc()

    def ledger_pending(self, entries: int) -> None:
        """Say how many ledger entries of this process wait for the database."""
        self._ledger_pending.set(entries)

    def ledger_flushed(self, duration_seconds: float) -> None:
        """Say how long one flush of the ledger took."""
        self._ledger_flush_seconds.observe(duration_seconds)

    def books_checked(self, windows: int, rollups: int, timestamp_seconds: float) -> None:
        """Say how many windows of budgets and how many rollups did not add up at a moment, in Unix seconds."""
        self._books_drift.labels("budget").set(windows)
        self._books_drift.labels("rollup").set(rollups)
        self._books_checked.set(timestamp_seconds)

    def database_reachable(self, *, is_up: bool) -> None:
        """Say whether PostgreSQL answered this process last time."""
        self._database_up.set(is_up)

    def redis_reachable(self, *, is_up: bool) -> None:
        """Say whether Redis answered this process last time."""
        self._redis_up.set(is_up)

    def limits_shared(self, *, is_up: bool) -> None:
        """Say whether limits are counted in Redis, by all processes together."""
        self._limits_local.set(not is_up)

    def limit_refused(self, counts: str, mode: str) -> None:
        """Count a call that a limit refused, or in shadow mode would have."""
        self._limit_refusals.labels(counts, mode).inc()

    def reconciled(self, upstream: str, difference_nano: Nano, checked_at: datetime) -> None:
        """Say by how much ledger and provider differ on the last days that were compared, and when that was."""
        self._reconciliation_difference.labels(upstream).set(difference_nano / NANO_PER_USD)
        self._reconciliation_checked.labels(upstream).set(checked_at.timestamp())

    def _declare_errors(self, registry: CollectorRegistry) -> None:
        self._operational_errors = Counter(
            "weir_operational_errors_total", "Answers that could not be given.", ("code",), registry=registry
        )
        self._deprecated_calls = Counter(
            "weir_deprecated_calls_total", "Calls to routes that are going away.", ("route",), registry=registry
        )

    def _declare_state(self, registry: CollectorRegistry) -> None:
        self._ledger_pending = Gauge(
            "weir_ledger_pending",
            "Ledger entries that wait for the database.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._ledger_flush_seconds = Histogram(
            "weir_ledger_flush_seconds", "Duration of ledger flushes.", buckets=_FLUSH_BUCKETS, registry=registry
        )
        self._books_drift = Gauge(
            "weir_books_drift",
            "Windows of budgets, and rollups, that differed from the ledger at the last check.",
            ("kind",),
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._books_checked = Gauge(
            "weir_books_checked_timestamp_seconds",
            "When the books were checked last.",
            registry=registry,
            multiprocess_mode="max",
        )
        self._database_up = Gauge(
            "weir_database_up",
            "1 while PostgreSQL answers every process.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._redis_up = Gauge(
            "weir_redis_up", "1 while Redis answers every process.", registry=registry, multiprocess_mode="livemin"
        )

    def _declare_limits(self, registry: CollectorRegistry) -> None:
        self._limit_refusals = Counter(
            "weir_limit_refusals_total",
            "Calls that a limit refused, or in shadow mode would have refused.",
            ("counts", "mode"),
            registry=registry,
        )
        self._limits_local = Gauge(
            "weir_limits_local",
            "1 while a process cannot count limits together with the others.",
            registry=registry,
            multiprocess_mode="livemax",
        )

    def _declare_reconciliation(self, registry: CollectorRegistry) -> None:
        # Every process says what the database says: the last one to say it is right.
        self._reconciliation_difference = Gauge(
            "weir_reconciliation_difference_usd",
            "Differences between ledger and provider, added up over the line items of the last three days.",
            ("upstream",),
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self._reconciliation_checked = Gauge(
            "weir_reconciliation_checked_timestamp_seconds",
            "When ledger and provider were compared last.",
            ("upstream",),
            registry=registry,
            multiprocess_mode="livemostrecent",
        )


def render_metrics(registry: CollectorRegistry) -> tuple[bytes, str]:
    """Return the exposition text and its content type: of all workers when they share a directory."""
    if _MULTIPROCESS_VARIABLE in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


def take_place(place: int) -> None:
    """Count on in the files of whoever had *place*, which no two processes have at once; before any metric is made.

    With files for each process number there would be more of them with every worker that dies, and all are read.
    """
    if _MULTIPROCESS_VARIABLE in os.environ:
        values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]


def forget_worker(place: int) -> None:
    """Take the gauges of the worker that died out of the sums; for gunicorn's `child_exit` hook."""
    if _MULTIPROCESS_VARIABLE in os.environ:
        multiprocess.mark_process_dead(place)  # type: ignore[no-untyped-call]


def _declare_process(registry: CollectorRegistry) -> None:
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
