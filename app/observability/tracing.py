"""OpenTelemetry spans, made by hand where they matter: one for each call, one for each attempt at an upstream.

Off until an endpoint is set, and then sampled: `otlp.py`, which is imported then only, as OpenTelemetry takes a while.
"""

import importlib
from collections.abc import MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from app.observability.context import CallContext
from app.setting_groups import Tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span

NOTHING: Final = nullcontext()
"""The span of an attempt that is not traced."""


class Tracer:
    """Traces nothing: what runs while no endpoint is set."""

    def start_call(self, call: CallContext, scope: MutableMapping[str, Any]) -> None:
        """Start the server span of *call*, under the caller's span if `traceparent` names one (W3C Trace Context)."""

    def finish_call(self, call: CallContext) -> None:
        """End the server span of *call* with what is known by now."""

    def upstream(self, call: CallContext, upstream: str) -> "AbstractContextManager[Span | str | None]":  # noqa: ARG002
        """Return the span of one attempt at *upstream*; it ends with the block, as an error if that raised."""
        return NOTHING

    def inject(self, span: "Span | str | None", headers: MutableMapping[str, str]) -> None:
        """Add `traceparent` to *headers*, so that the upstream's spans hang under *span*."""

    def shutdown(self) -> None:
        """Send what is waiting and stop; blocks for as long as the collector takes, at most some seconds."""


def build_tracer(settings: Tracing) -> Tracer:
    """Return the tracer that *settings* ask for; tracing is off without an endpoint."""
    if settings.otlp_endpoint is None:
        return Tracer()
    tracer: Tracer = importlib.import_module("app.observability.otlp").tracer_for(settings.otlp_endpoint, settings)
    return tracer
