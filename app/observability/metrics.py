"""What Prometheus may know of this process: calls, tokens, cost, and whether what Weir needs is there.

Every label comes from a bounded set. Children are bound once and kept, as looking them up costs more than counting.
"""

import os
from datetime import datetime
from typing import Final, NamedTuple

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
)

from app.core.money import NANO_PER_USD, Nano
from app.observability.context import CallContext
from app.observability.http_metrics import HttpMetrics
from app.observability.upstream_metrics import UpstreamMetrics

_MULTIPROCESS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_MODELS_MAX: Final = 200
_OTHER: Final = "other"
_NONE: Final = "none"
_FIRST_ERROR_STATUS: Final = 400
_CALL_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_FIRST_BYTE_BUCKETS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120)
_FLUSH_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class _Series(NamedTuple):
    """What one kind of call is counted in, bound to its labels."""

    calls: Counter
    duration: Histogram
    first_byte: Histogram
    upstream: Histogram
    input_tokens: Counter
    cached_input_tokens: Counter
    output_tokens: Counter
    cost_usd: Counter


class Metrics:
    """Weir's own metrics, in *registry*: one of its own unless one is given."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or _process_registry()
        self._models: set[str] = set()
        self._series: dict[tuple[str, str, str, str], _Series] = {}
        self._http = HttpMetrics(self.registry)
        self.upstreams = UpstreamMetrics(self.registry)
        self._declare_calls(self.registry)
        self._declare_state(self.registry)
        self._declare_limits(self.registry)
        self._declare_reconciliation(self.registry)

    def call_finished(self, call: CallContext, duration_seconds: float) -> None:
        """Count a call that has ended; the gateway's calls have an outcome, the others count as HTTP only."""
        self._http.call_finished(call, duration_seconds)
        if call.outcome is None:
            return
        model = call.model if call.model in self._models else self._label_of_new(call)
        labels = (call.operation or _OTHER, model, call.outcome, call.upstream or _NONE)
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = self._bind(*labels)
        series.calls.inc()
        series.duration.observe(duration_seconds)
        if call.streamed and call.first_byte_seconds is not None:
            series.first_byte.observe(call.first_byte_seconds)
        if call.upstream_seconds is not None:
            series.upstream.observe(call.upstream_seconds)
        if call.input_tokens:
            series.input_tokens.inc(call.input_tokens)
        if call.cached_input_tokens:
            series.cached_input_tokens.inc(call.cached_input_tokens)
        if call.output_tokens:
            series.output_tokens.inc(call.output_tokens)
        if call.cost_nano:
            series.cost_usd.inc(call.cost_nano / NANO_PER_USD)

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

    def _declare_calls(self, registry: CollectorRegistry) -> None:
        self._calls_total = Counter(
            "weir_calls_total", "Calls to models.", ("operation", "model", "outcome"), registry=registry
        )
        self._call_seconds = Histogram(
            "weir_call_seconds",
            "Duration of calls to models, from the request to the last byte.",
            ("operation",),
            buckets=_CALL_BUCKETS,
            registry=registry,
        )
        self._first_byte_seconds = Histogram(
            "weir_first_byte_seconds",
            "Time to the first byte of streamed answers.",
            ("operation",),
            buckets=_FIRST_BYTE_BUCKETS,
            registry=registry,
        )
        self._upstream_seconds = Histogram(
            "weir_upstream_seconds",
            "Time that calls spent at their upstream.",
            ("upstream",),
            buckets=_CALL_BUCKETS,
            registry=registry,
        )
        self._tokens_total = Counter(
            "weir_tokens_total", "Tokens; cached_input is a part of input.", ("model", "kind"), registry=registry
        )
        self._cost_usd_total = Counter("weir_cost_usd_total", "Cost in US dollars.", ("model",), registry=registry)
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

    def _label_of_new(self, call: CallContext) -> str:
        model = call.model
        # Only what an upstream has served may become a label: callers can invent any number of names.
        is_served = call.upstream is not None and call.status is not None and call.status < _FIRST_ERROR_STATUS
        if model is None or not is_served or len(self._models) >= _MODELS_MAX:
            return _OTHER
        self._models.add(model)
        return model

    def _bind(self, operation: str, model: str, outcome: str, upstream: str) -> _Series:
        return _Series(
            calls=self._calls_total.labels(operation, model, outcome),
            duration=self._call_seconds.labels(operation),
            first_byte=self._first_byte_seconds.labels(operation),
            upstream=self._upstream_seconds.labels(upstream),
            input_tokens=self._tokens_total.labels(model, "input"),
            cached_input_tokens=self._tokens_total.labels(model, "cached_input"),
            output_tokens=self._tokens_total.labels(model, "output"),
            cost_usd=self._cost_usd_total.labels(model),
        )


def render_metrics(registry: CollectorRegistry) -> tuple[bytes, str]:
    """Return the exposition text and its content type: of all workers when they share a directory."""
    if _MULTIPROCESS_VARIABLE in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


def forget_worker(pid: int) -> None:
    """Take the gauges of the worker that died out of the sums; for gunicorn's `child_exit` hook."""
    if _MULTIPROCESS_VARIABLE in os.environ:
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _process_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
