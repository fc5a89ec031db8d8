"""Traces to an OpenTelemetry collector. A span must never hold a prompt, a key or a query string."""

import os
from collections.abc import Generator, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from app.core.imports import without
from app.observability.context import QUIET_PATHS, CallContext
from app.observability.redaction import redact_text
from app.observability.tracing import NOTHING, Tracer
from app.setting_groups import Tracing

with without("psutil"):  # for the name of the account that Weir runs in: 1 MiB
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased
    from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
    from opentelemetry.semconv.attributes.http_attributes import (
        HTTP_REQUEST_METHOD,
        HTTP_RESPONSE_STATUS_CODE,
        HTTP_ROUTE,
    )
    from opentelemetry.semconv.attributes.url_attributes import URL_PATH, URL_SCHEME
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_TRACES_PATH: Final = "/v1/traces"
_EXPORT_TIMEOUT_SECONDS: Final = 5
_SERVER_ERROR: Final = 500
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_IDS_BYTES: Final = 16 + 8
"""Of a trace's id and a span's (https://www.w3.org/TR/trace-context/#traceparent-header-field-values)."""


class OtlpTracer(Tracer):
    """Traces the calls that the caller or the ratio chose, and sends their spans to *exporter* from a thread."""

    def __init__(self, exporter: SpanExporter, *, sample_ratio: float) -> None:
        self._bound = TraceIdRatioBased.get_bound_for_rate(sample_ratio)
        # Not the global provider: no library may add spans of its own.
        self._provider = TracerProvider(
            sampler=ParentBased(ALWAYS_ON),  # what has no parent is chosen in `start_call`
            resource=Resource.create({SERVICE_NAME: "weir"}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("weir")

    def start_call(self, call: CallContext, scope: MutableMapping[str, Any]) -> None:
        """Start the server span of *call*, except for probes and scrapers."""
        if call.path in QUIET_PATHS:
            return
        carrier = {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        parent = _PROPAGATOR.extract(carrier) if carrier else Context()
        has_parent = bool(carrier) and trace.get_current_span(parent).get_span_context().is_valid
        ids = os.urandom(_IDS_BYTES)
        if not has_parent and int.from_bytes(ids[8:16]) >= self._bound:
            # What the objects for a call that nobody reads about would come to, written at once.
            text = ids.hex()
            call.span = f"00-{text[:32]}-{text[32:]}-00"
            return
        span = self._tracer.start_span(call.method, parent, SpanKind.SERVER)
        if span.is_recording():
            span.set_attribute(URL_SCHEME, scope.get("scheme", "http"))
        call.span = span

    def finish_call(self, call: CallContext) -> None:
        """End the server span of *call*, named and described by what is known by now."""
        span = call.span
        if span is None or isinstance(span, str):
            return
        if span.is_recording():
            span.update_name(f"{call.method} {call.route}".rstrip())
            span.set_attributes({name: value for name, value in _attributes(call).items() if value is not None})
            if call.status is None or call.status >= _SERVER_ERROR:
                span.set_status(Status(StatusCode.ERROR))
        span.end()

    @contextmanager
    def _child(self, parent: Span, upstream: str) -> Generator[Span]:
        span = self._tracer.start_span(f"upstream {upstream}", trace.set_span_in_context(parent), SpanKind.CLIENT)
        try:
            yield span
        except BaseException as error:
            # The message stays out, as it may quote what was sent.
            span.set_attribute(ERROR_TYPE, type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            span.set_attribute("weir.upstream", upstream)
            span.end()

    def upstream(self, call: CallContext, upstream: str) -> AbstractContextManager[Span | str | None]:
        """Return the client span of one attempt at *upstream*, under the span of *call*.

        Of a call that is not sampled that would not be either: the upstream is told so by the span of the call itself.
        """
        span = call.span
        if span is None:
            return NOTHING
        return nullcontext(span) if isinstance(span, str) or not span.is_recording() else self._child(span, upstream)

    def inject(self, span: Span | str | None, headers: MutableMapping[str, str]) -> None:
        """Add `traceparent` of *span* to *headers*."""
        if isinstance(span, str):
            headers["traceparent"] = span
        elif span is not None:
            _PROPAGATOR.inject(headers, trace.set_span_in_context(span))

    def shutdown(self) -> None:
        """Send what is waiting and stop."""
        self._provider.shutdown()


def tracer_for(endpoint: str, settings: Tracing) -> OtlpTracer:
    """Return the tracer that sends to *endpoint*, with or without the path for traces."""
    base = endpoint.rstrip("/").removesuffix(_TRACES_PATH)
    exporter = OTLPSpanExporter(endpoint=base + _TRACES_PATH, timeout=_EXPORT_TIMEOUT_SECONDS)
    return OtlpTracer(exporter, sample_ratio=settings.sample_ratio)


def _attributes(call: CallContext) -> dict[str, Any]:
    """Return what a span says of *call*: https://opentelemetry.io/docs/specs/semconv/http/ and …/gen-ai/."""
    return {
        HTTP_REQUEST_METHOD: call.method,
        HTTP_ROUTE: call.route or None,
        HTTP_RESPONSE_STATUS_CODE: call.status,
        URL_PATH: redact_text(call.path),
        ERROR_TYPE: call.error_code,
        "gen_ai.operation.name": call.operation,
        "gen_ai.request.model": redact_text(call.model) if call.model else None,
        "gen_ai.usage.input_tokens": call.input_tokens,
        "gen_ai.usage.output_tokens": call.output_tokens,
        "weir.request_id": call.request_id,
        "weir.upstream": call.upstream,
        "weir.outcome": call.outcome,
    }
