"""The usual HTTP metrics of FastAPI services, by prometheus-fastapi-instrumentator, so that its dashboards work.

Only its metrics: its middleware matches every route a second time, which costs more than the rest of this package.
"""

from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from prometheus_fastapi_instrumentator.metrics import Info, latency, requests
from starlette.requests import Request

from app.observability.context import CallContext

_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# What the metrics used here do not look at.
_NO_REQUEST: Final = Request({"type": "http"})


class HttpMetrics:
    """`http_requests_total` and `http_request_duration_seconds` by route template; unrouted paths are not counted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        instrumentator = Instrumentator(registry=registry)
        instrumentator.add(requests(registry=registry))
        instrumentator.add(latency(registry=registry, buckets=_BUCKETS, should_include_status=False))
        self._instrumentations = tuple(instrumentator.instrumentations)

    def call_finished(self, call: CallContext, duration_seconds: float) -> None:
        """Count *call* under its template, its method and the hundred of its status."""
        if not call.route:
            return
        info = Info(
            request=_NO_REQUEST,
            response=None,
            method=call.method if call.method in _METHODS else "other",
            modified_handler=call.route,
            modified_status=f"{(call.status or 500) // 100}xx",
            modified_duration=duration_seconds,
        )
        for count in self._instrumentations:
            count(info)
