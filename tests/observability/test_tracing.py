import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.errors import UpstreamTimeout
from app.observability.context import CallContext, call_context
from app.observability.otlp import OtlpTracer
from app.observability.tracing import Tracer, build_tracer
from app.setting_groups import Tracing

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"
KEY = "wk-AbCdEf0123456789"


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(b"hello")(scope, receive, send)


@pytest.fixture
def spans(watch: Any) -> Iterator[Any]:
    """Call it to end tracing and get the spans by name."""
    exporter = InMemorySpanExporter()
    watch.tracer = OtlpTracer(exporter, sample_ratio=1)

    def finish() -> dict[str, ReadableSpan]:
        watch.tracer.shutdown()
        return {span.name: span for span in exporter.get_finished_spans()}

    yield finish
    watch.tracer.shutdown()


async def test_a_call_is_a_server_span_with_what_is_known_of_it(ask: Any, watch: Any, spans: Any) -> None:
    async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
        call = call_context(scope)
        call.operation, call.model, call.outcome, call.input_tokens, call.output_tokens = "chat", "m", "completed", 3, 4
        await hello(scope, receive, send)

    await ask(gateway, f"/v1/x/{KEY}?q=hush-0001", "POST", headers={"authorization": f"Bearer {KEY}"})
    span = spans()["POST"]
    assert span.kind is SpanKind.SERVER
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "url.path": "/v1/x/[redacted]",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
        "weir.request_id": watch.call["request_id"],
        "weir.outcome": "completed",
    }
    assert span.resource.attributes["service.name"] == "weir"


async def test_the_callers_trace_goes_on(ask: Any, spans: Any) -> None:
    await ask(hello, headers={"traceparent": SAMPLED, "tracestate": "a=1"})
    span = spans()["GET"]
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"


@pytest.mark.parametrize("header", ["nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "x" * 5000])
async def test_a_broken_traceparent_starts_a_trace_of_its_own(ask: Any, spans: Any, header: str) -> None:
    await ask(hello, headers={"traceparent": header})
    assert spans()["GET"].parent is None


async def test_a_caller_may_decide_not_to_be_traced(ask: Any, spans: Any) -> None:
    await ask(hello, headers={"traceparent": UNSAMPLED})
    assert spans() == {}


async def test_a_call_that_is_not_chosen_has_no_spans_and_its_upstream_is_told_so(ask: Any, watch: Any) -> None:
    exporter = InMemorySpanExporter()
    watch.tracer = OtlpTracer(exporter, sample_ratio=0)
    headers: list[dict[str, str]] = [{}, {}]

    async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
        for each in headers:
            with watch.tracer.upstream(call_context(scope), "openai") as span:
                watch.tracer.inject(span, each)
        await hello(scope, receive, send)

    await ask(gateway)
    await ask(hello, headers={"traceparent": "00-broken"})
    await ask(hello, headers={"traceparent": SAMPLED})
    watch.tracer.shutdown()

    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", headers[0]["traceparent"])
    assert headers[0] == headers[1]
    [only] = exporter.get_finished_spans()
    assert f"{only.context.trace_id:032x}" == TRACE, "a caller that traces decides for itself"


async def test_as_many_calls_are_traced_as_the_ratio_says(ask: Any, watch: Any) -> None:
    exporter = InMemorySpanExporter()
    watch.tracer = OtlpTracer(exporter, sample_ratio=0.5)
    for _ in range(200):
        await ask(hello)
    watch.tracer.shutdown()
    assert 50 < len(exporter.get_finished_spans()) < 150


async def test_probes_are_not_traced(ask: Any, spans: Any) -> None:
    await ask(hello, "/healthz")
    assert spans() == {}


async def test_a_failed_call_is_an_error(ask: Any, spans: Any) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise UpstreamTimeout("silent")

    await ask(broken)
    span = spans()["GET"]
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "upstream_timeout"


async def test_an_attempt_is_a_client_span_whose_id_the_upstream_gets(ask: Any, watch: Any, spans: Any) -> None:
    headers: dict[str, str] = {}

    async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
        with watch.tracer.upstream(call_context(scope), "openai") as span:
            watch.tracer.inject(span, headers)
        await hello(scope, receive, send)

    await ask(gateway)
    found = spans()
    attempt = found["upstream openai"]
    assert attempt.kind is SpanKind.CLIENT
    assert attempt.parent.span_id == found["GET"].context.span_id
    version, trace_id, span_id, flags = headers["traceparent"].split("-")
    assert (version, trace_id, span_id) == ("00", f"{attempt.context.trace_id:032x}", f"{attempt.context.span_id:016x}")
    assert int(flags, 16) & trace.TraceFlags.SAMPLED


async def test_a_failed_attempt_names_the_error_without_its_message(ask: Any, watch: Any, spans: Any) -> None:
    async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
        with watch.tracer.upstream(call_context(scope), "openai"):
            raise UpstreamTimeout(f"sent {KEY}")

    await ask(gateway)
    attempt = spans()["upstream openai"]
    assert attempt.attributes["error.type"] == "UpstreamTimeout"
    assert attempt.status.status_code is StatusCode.ERROR
    assert KEY not in attempt.to_json()


def test_a_call_that_is_not_traced_has_no_attempts_either(watch: Any, spans: Any) -> None:
    call = CallContext("req_1", 0.0, "GET", "/healthz")
    watch.tracer.finish_call(call)
    headers: dict[str, str] = {}
    with watch.tracer.upstream(call, "openai") as span:
        watch.tracer.inject(span, headers)
    assert headers == {}
    assert spans() == {}


def test_tracing_is_off_without_an_endpoint() -> None:
    tracer = build_tracer(Tracing())
    assert type(tracer) is Tracer
    call = CallContext("req_1", 0.0, "GET", "/")
    tracer.start_call(call, {})
    headers: dict[str, str] = {}
    with tracer.upstream(call, "openai") as span:
        tracer.inject(span, headers)
    tracer.finish_call(call)
    tracer.shutdown()
    assert (call.span, span, headers) == (None, None, {})


class Collector(BaseHTTPRequestHandler):
    received: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        self.received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.mark.parametrize("path", ["", "/", "/v1/traces"])
def test_shutdown_sends_what_is_waiting_to_the_collector(path: str) -> None:
    received: list[tuple[str, bytes]] = []
    handler = type("Handler", (Collector,), {"received": received})
    with HTTPServer(("127.0.0.1", 0), handler) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        try:
            endpoint = f"http://127.0.0.1:{collector.server_port}{path}"
            tracer = build_tracer(Tracing(otlp_endpoint=endpoint, sample_ratio=1))
            call = CallContext("req_1", 0.0, "GET", "/v1/models", "/v1/models")
            tracer.start_call(call, {"headers": []})
            tracer.finish_call(call)
            tracer.shutdown()
        finally:
            collector.shutdown()
            thread.join()
    ((url, body),) = received
    assert url == "/v1/traces"
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    assert resource.scope_spans[0].spans[0].name == "GET /v1/models"


def test_no_library_sees_our_provider(spans: Any) -> None:
    assert type(trace.get_tracer_provider()).__name__ == "ProxyTracerProvider"
