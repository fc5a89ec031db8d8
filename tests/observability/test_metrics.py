import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from app.core.money import Nano
from app.observability.context import CallContext
from app.observability.durations import observe_all
from app.observability.metrics import Metrics, forget_worker, render_metrics, take_place
from tests.fixtures.waiting import until

_BOUNDS = (0.5, 1.0, 2.5)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def finished(model: str | None = "gpt-5-mini", upstream: str | None = "openai") -> CallContext:
    call = CallContext("req_1", 0.0, "POST", "/v1/chat/completions", "/v1/chat/completions")
    call.operation, call.model, call.upstream, call.outcome = "chat", model, upstream, "completed"
    call.status = 200
    return call


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    metrics.count_finished()
    return metrics.registry.get_sample_value(name, labels)


def test_a_streamed_call_is_counted_with_its_tokens_and_cost(metrics: Metrics) -> None:
    call = finished()
    call.streamed, call.first_byte_seconds, call.upstream_seconds = True, 0.2, 0.9
    call.input_tokens, call.cached_input_tokens, call.output_tokens = 100, 40, 30
    call.cost_nano = Nano(1_500_000_000)
    metrics.call_finished(call, 1.2)
    metrics.call_finished(call, 1.2)
    assert sample(metrics, "weir_calls_total", operation="chat", model="gpt-5-mini", outcome="completed") == 2
    assert sample(metrics, "weir_call_seconds_sum", operation="chat") == 2.4
    assert sample(metrics, "weir_first_byte_seconds_count", operation="chat") == 2
    assert sample(metrics, "weir_upstream_seconds_sum", upstream="openai") == 1.8
    for kind, count in (("input", 200), ("cached_input", 80), ("output", 60)):
        assert sample(metrics, "weir_tokens_total", model="gpt-5-mini", kind=kind) == count
    assert sample(metrics, "weir_cost_usd_total", model="gpt-5-mini") == 3.0


def test_a_plain_call_without_usage_counts_no_tokens_and_no_first_byte(metrics: Metrics) -> None:
    call = finished()
    call.first_byte_seconds = 0.2
    metrics.call_finished(call, 1.0)
    assert sample(metrics, "weir_first_byte_seconds_count", operation="chat") == 0
    assert sample(metrics, "weir_tokens_total", model="gpt-5-mini", kind="input") == 0
    assert sample(metrics, "weir_upstream_seconds_count", upstream="openai") == 0


def test_calls_that_are_not_the_gateways_count_as_http_only(metrics: Metrics) -> None:
    call = CallContext("req_1", 0.0, "GET", "/v1/organization/projects/7", "/v1/organization/projects/{project_id}")
    call.status = 404
    metrics.call_finished(call, 0.01)
    labels = {"handler": "/v1/organization/projects/{project_id}", "method": "GET"}
    assert sample(metrics, "http_requests_total", status="4xx", **labels) == 1
    assert b"weir_calls_total{" not in render_metrics(metrics.registry)[0]


@pytest.mark.parametrize("status", [None, 500])
def test_a_call_without_an_answer_counts_as_a_server_error(metrics: Metrics, status: int | None) -> None:
    call = finished()
    call.status = status
    metrics.call_finished(call, 0.01)
    assert sample(metrics, "http_requests_total", handler=call.route, method="POST", status="5xx") == 1


def test_paths_without_a_route_and_invented_methods_add_no_series(metrics: Metrics) -> None:
    call = finished()
    call.route = ""
    call.outcome = None
    metrics.call_finished(call, 0.01)
    assert b"http_requests_total{" not in render_metrics(metrics.registry)[0]
    for method in ("BREW", "PROPFIND"):
        call.method, call.route = method, "/x"
        metrics.call_finished(call, 0.01)
    assert sample(metrics, "http_requests_total", handler="/x", method="other", status="2xx") == 2


def test_only_the_first_200_models_get_a_label(metrics: Metrics) -> None:
    for number in range(250):
        metrics.call_finished(finished(f"model-{number}"), 1.0)
    metrics.call_finished(finished("model-0"), 1.0)
    assert sample(metrics, "weir_calls_total", operation="chat", model="model-0", outcome="completed") == 2
    assert sample(metrics, "weir_calls_total", operation="chat", model="model-199", outcome="completed") == 1
    assert sample(metrics, "weir_calls_total", operation="chat", model="model-200", outcome="completed") is None
    assert sample(metrics, "weir_calls_total", operation="chat", model="other", outcome="completed") == 50


@pytest.mark.parametrize(
    ("model", "upstream", "status"),
    [("invented", None, 404), ("invented", "openai", 404), ("invented", "openai", None), (None, None, 400)],
)
def test_a_name_that_no_upstream_has_served_gets_no_label(
    metrics: Metrics, model: str | None, upstream: str | None, status: int | None
) -> None:
    call = finished(model, upstream)
    call.operation, call.status = None, status
    metrics.call_finished(call, 1.0)
    assert sample(metrics, "weir_calls_total", operation="other", model="other", outcome="completed") == 1


async def test_calls_are_counted_together_a_moment_later_or_when_somebody_asks(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = finished()
    http = {"handler": call.route, "method": "POST", "status": "2xx"}
    for _ in range(3):
        metrics.call_finished(call, 1.0)
    assert len(metrics._finished) == 3
    assert sample(metrics, "http_requests_total", **http) == 3

    monkeypatch.setattr("app.observability.metrics._GATHERING_SECONDS", 0.001)
    metrics.call_finished(call, 1.0)
    assert len(metrics._finished) == 1
    await until(lambda: not metrics._finished)
    assert sample(metrics, "http_requests_total", **http) == 4


@given(st.lists(st.one_of(st.floats(0, 20), st.sampled_from(_BOUNDS))))
def test_durations_that_are_observed_together_are_what_they_are_one_by_one(seconds: list[float]) -> None:
    registry = CollectorRegistry()
    alone, together = (
        Histogram(name, name, buckets=(0.5, 1, 2.5), registry=registry) for name in ("alone", "together")
    )
    for each in seconds:
        alone.observe(each)
    observe_all(together, [*seconds, None])

    expected, found = ({each.labels.get("le"): each for each in metric.samples} for metric in registry.collect())
    assert {bound: each.value for bound, each in found.items() if bound} == {
        bound: each.value for bound, each in expected.items() if bound
    }
    assert registry.get_sample_value("together_sum") == pytest.approx(sum(seconds))


def test_the_state_of_the_process_is_exposed(metrics: Metrics) -> None:
    metrics.ledger_pending(7)
    metrics.ledger_flushed(0.002)
    metrics.database_reachable(is_up=True)
    metrics.redis_reachable(is_up=False)
    metrics.operational_error("upstream_timeout")
    assert sample(metrics, "weir_ledger_pending") == 7
    assert sample(metrics, "weir_ledger_flush_seconds_count") == 1
    assert sample(metrics, "weir_database_up") == 1
    assert sample(metrics, "weir_redis_up") == 0
    assert sample(metrics, "weir_operational_errors_total", code="upstream_timeout") == 1


def test_a_registry_of_its_own_also_describes_the_process() -> None:
    text, content_type = render_metrics(Metrics().registry)
    assert b"python_info{" in text
    assert content_type.startswith("text/plain; version=")


def test_the_place_of_a_worker_means_nothing_to_a_single_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    take_place(1)
    forget_worker(1)


WORKER = """
import sys
from prometheus_client import CollectorRegistry
from app.observability.context import CallContext
from app.observability.metrics import Metrics, forget_worker, render_metrics, take_place

place, *gone = map(int, sys.argv[1:])
take_place(place)
metrics = Metrics(CollectorRegistry())
call = CallContext("req_1", 0.0, "POST", "/x", "/x")
call.operation, call.model, call.upstream, call.outcome, call.status = "chat", "m", "u", "completed", 200
metrics.call_finished(call, 1.0)
metrics.ledger_pending(5)
metrics.database_reachable(is_up=not gone)
for each in gone:
    forget_worker(each)
sys.stdout.buffer.write(render_metrics(metrics.registry)[0])
"""


def test_several_workers_are_summed_and_the_dead_ones_gauges_forgotten(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def work(place: int, *gone: int) -> dict[str, float]:
        done = subprocess.run(
            [sys.executable, "-c", WORKER, *map(str, (place, *gone))],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        families = text_string_to_metric_families(done.stdout)
        return {sample.name: sample.value for family in families for sample in family.samples}

    alone = work(1)
    assert (alone["weir_calls_total"], alone["weir_ledger_pending"], alone["weir_database_up"]) == (1, 5, 1)
    both = work(2, 10**7)
    assert (both["weir_calls_total"], both["http_requests_total"], both["weir_ledger_pending"]) == (2, 2, 10)
    assert both["weir_database_up"] == 0
    after = work(3, 1)
    assert (after["weir_calls_total"], after["weir_ledger_pending"]) == (3, 10)

    files = sorted(tmp_path.iterdir())
    again = work(3, 1)
    assert (again["weir_calls_total"], again["weir_ledger_pending"]) == (4, 10)
    assert sorted(tmp_path.iterdir()) == files
