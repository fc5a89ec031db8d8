"""A CallMiddleware around any ASGI app, with a log, a registry and a list of reports that a test can read."""

import io
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from app.observability.logging import Logger, build_logger
from app.observability.metrics import Metrics
from app.observability.middleware import CallMiddleware
from app.observability.tracing import Tracer
from app.setting_groups import Log
from tests.fixtures.asgi import serving as serve

Serving = Callable[[ASGIApp], AbstractAsyncContextManager[int]]


@dataclass
class Watch:
    """Everything that observability left behind."""

    output: io.BytesIO = field(default_factory=io.BytesIO)
    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))
    reports: list[tuple[BaseException, str]] = field(default_factory=list)
    tracer: Tracer = field(default_factory=Tracer)
    level: Any = "info"

    def around(self, app: ASGIApp) -> CallMiddleware:
        return CallMiddleware(
            app,
            logger=self.logger,
            metrics=self.metrics,
            tracer=self.tracer,
            report=lambda error, request_id: self.reports.append((error, request_id)),
        )

    @property
    def logger(self) -> Logger:
        return build_logger(Log(level=self.level, format="json"), self.output)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.getvalue().splitlines()]

    @property
    def call(self) -> dict[str, Any]:
        """The one access line; there must not be another."""
        (line,) = (line for line in self.lines if line["event"] == "call")
        return line

    def sample(self, name: str, **labels: str) -> float | None:
        self.metrics.count_finished()
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def ask(watch: Watch) -> Callable[..., Awaitable[httpx.Response]]:
    """Send one request to an app inside CallMiddleware, without a server."""

    async def send(app: ASGIApp, path: str = "/", method: str = "GET", **arguments: Any) -> httpx.Response:
        transport = httpx.ASGITransport(watch.around(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://weir.test") as client:
            return await client.request(method, path, **arguments)

    return send


@pytest.fixture
def serving() -> Serving:
    """Return what serves an app by uvicorn on a real socket, for as long as its block runs."""
    return partial(serve, http="httptools")
