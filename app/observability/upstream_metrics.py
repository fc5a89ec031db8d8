"""What Prometheus may know of the attempts at upstreams. Every label comes from a bounded set."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

_MODELS_MAX: Final = 200
_OTHER: Final = "other"
_VALUES: Final = {"closed": 0, "half_open": 1, "open": 2}


class UpstreamMetrics:
    """Attempts, breakers and retry budgets."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._models: set[str] = set()
        self._bound: dict[tuple[str, str], Counter] = {}
        self._attempts = Counter(
            "weir_upstream_attempts_total",
            "Attempts at upstreams, by how they ended; docs/reference/retries.md has the outcomes.",
            ("upstream", "outcome"),
            registry=registry,
        )
        # What is open anywhere is worth to be seen.
        self._breakers = Gauge(
            "weir_upstream_breaker_state",
            "Circuit breakers: 0 closed, 1 half-open, 2 open. Those that were never open are not shown.",
            ("upstream", "model"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._retry_budget = Gauge(
            "weir_upstream_retry_budget",
            "Retries that a process may make at an upstream now.",
            ("upstream",),
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._local = Gauge(
            "weir_upstream_breakers_local",
            "1 while a process cannot tell the others what its breakers do.",
            registry=registry,
            multiprocess_mode="livemax",
        )

    def attempt_ended(self, upstream: str, outcome: str) -> None:
        """Count an attempt."""
        labels = upstream, outcome
        counter = self._bound.get(labels)
        if counter is None:
            counter = self._bound[labels] = self._attempts.labels(*labels)
        counter.inc()

    def breaker_is(self, upstream: str, model: str, state: str) -> None:
        """Say what state a breaker is in."""
        if model not in self._models:
            if len(self._models) >= _MODELS_MAX:
                model = _OTHER
            self._models.add(model)
        self._breakers.labels(upstream, model).set(_VALUES[state])

    def retry_budget_is(self, upstream: str, retries: float) -> None:
        """Say how many retries there may be at an upstream."""
        self._retry_budget.labels(upstream).set(retries)

    def breakers_shared(self, *, is_up: bool) -> None:
        """Say whether processes hear of each other's breakers."""
        self._local.set(not is_up)
