"""What Prometheus may know of calls to models. Every label comes from a bounded set."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram

from app.core.money import NANO_PER_USD
from app.observability.context import CallContext
from app.observability.durations import observe_all
from app.observability.http_metrics import Finished

_MODELS_MAX: Final = 200
_OTHER: Final = "other"
_NONE: Final = "none"
_FIRST_ERROR_STATUS: Final = 400
_CALL_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_FIRST_BYTE_BUCKETS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120)


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

    def add(self, finished: Sequence[Finished]) -> None:
        """Count calls of this kind."""
        calls = [each.call for each in finished]
        self.calls.inc(len(calls))
        observe_all(self.duration, [each.duration_seconds for each in finished])
        observe_all(self.first_byte, [call.first_byte_seconds for call in calls if call.streamed])
        observe_all(self.upstream, [call.upstream_seconds for call in calls])
        self.input_tokens.inc(sum([call.input_tokens or 0 for call in calls]))
        self.cached_input_tokens.inc(sum([call.cached_input_tokens or 0 for call in calls]))
        self.output_tokens.inc(sum([call.output_tokens or 0 for call in calls]))
        self.cost_usd.inc(sum([call.cost_nano or 0 for call in calls]) / NANO_PER_USD)


class CallMetrics:
    """Calls, how long they took, what they used and what they cost."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._models: set[str] = set()
        self._series: dict[tuple[str, str, str, str], _Series] = {}
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

    def count(self, finished: Iterable[Finished]) -> None:
        """Count calls that have ended; those that are no calls to a model have no outcome."""
        kinds: defaultdict[tuple[str, str, str, str], list[Finished]] = defaultdict(list)
        for each in finished:
            call = each.call
            if call.outcome is not None:
                model = call.model if call.model in self._models else self._label_of_new(call)
                kinds[call.operation or _OTHER, model, call.outcome, call.upstream or _NONE].append(each)
        for labels, of_kind in kinds.items():
            series = self._series.get(labels)
            if series is None:
                series = self._series[labels] = self._bind(*labels)
            series.add(of_kind)

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
