"""The usual HTTP metrics of FastAPI services, by prometheus-fastapi-instrumentator, so that its dashboards work.

Only its metrics: its middleware matches every route a second time, which costs more than the rest of this package.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.registry import Collector
from prometheus_fastapi_instrumentator.metrics import latency, requests

from app.observability.context import CallContext
from app.observability.durations import observe_all

_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_ANSWER_STATUS: Final = 500


class Finished(NamedTuple):
    """A call that has ended."""

    call: CallContext
    duration_seconds: float


class _Series(NamedTuple):
    calls: Counter
    duration: Histogram


class _Recorder(CollectorRegistry):
    """Remembers what is declared in *registry*: the library gives away functions only, which look up every label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = registry
        self.declared: list[Any] = []

    def register(self, collector: Collector) -> None:
        self._registry.register(collector)
        self.declared.append(collector)


class HttpMetrics:
    """`http_requests_total` and `http_request_duration_seconds` by route template; unrouted paths are not counted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        recorder = _Recorder(registry)
        requests(registry=recorder)
        latency(registry=recorder, buckets=_BUCKETS, should_include_status=False)
        self._requests, self._latency = recorder.declared
        self._series: dict[tuple[str, str, int], _Series] = {}

    def count(self, finished: Iterable[Finished]) -> None:
        """Count calls that have ended, each under its template, its method and the hundred of its status."""
        kinds: defaultdict[tuple[str, str, int], list[float]] = defaultdict(list)
        for call, duration_seconds in finished:
            if call.route:
                hundred = (call.status or _NO_ANSWER_STATUS) // 100
                kinds[call.route, call.method, hundred].append(duration_seconds)
        for key, durations in kinds.items():
            series = self._series.get(key) or self._bind(*key)
            series.calls.inc(len(durations))
            observe_all(series.duration, durations)

    def _bind(self, route: str, method: str, hundred: int) -> _Series:
        known_method = method if method in _METHODS else "other"
        labels = {"handler": route, "method": known_method}
        series = _Series(self._requests.labels(**labels, status=f"{hundred}xx"), self._latency.labels(**labels))
        if known_method == method:
            self._series[route, method, hundred] = series
        return series
