"""Builds the API process: settings, wiring, middleware, routes. `weir serve` runs it."""

import os
import warnings
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import structlog
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from pydantic.warnings import UnsupportedFieldAttributeWarning
from starlette.datastructures import State
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app import error_handlers, routes
from app.core.wire import show_nulls
from app.gateway.front_router import FrontDoor
from app.gateway.passthrough import PassedPaths
from app.observability import sentry
from app.observability.lifecycle import DeprecationHeaders
from app.observability.logging import capture_stdlib, configure
from app.observability.metrics import Metrics
from app.observability.middleware import CallMiddleware
from app.observability.proxies import ForwardedFor
from app.observability.request_limits import BodyLimit, HeaderLimit, TrustedHosts
from app.observability.tracing import build_tracer
from app.settings import Settings, load_settings
from app.version import VERSION
from app.wiring import Wiring, wire

_log: Final = structlog.get_logger()

_EXPOSED_HEADERS: Final = (
    "age",
    "etag",
    "retry-after",
    "retry-after-ms",
    *(f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")),
    "x-request-id",
    "server-timing",
    "x-should-retry",
    "x-weir-cache",
    "x-weir-cost-usd",
    "x-weir-max-output-tokens",
    "x-weir-model",
    "x-weir-original-request-id",
)
"""What programs in browsers may read of an answer (https://fetch.spec.whatwg.org/#cors-safelisted-response-header-name)."""
_NEVER_COMPRESSED: Final = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream", "application/binary")
"""What is streamed as it comes, such as files, or does not get shorter."""
_DESCRIPTION: Final = """\
A self-hosted, OpenAI-compatible `/v1` API: clients change only `base_url`.

**Try it here:** press *Authorize*, paste a key (`wk-…`), open *Create a chat completion*, and *Try it out*.
The answer's `x-request-id` names its receipt, `GET /v1/requests/{request_id}`.
"""


class AppState(State):
    """What the application keeps, as plain attributes: Starlette's looks up each by a method written in Python."""

    settings: Settings
    passed_paths: PassedPaths
    wiring: Wiring
    """While it runs."""

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


class HeadAsGet:
    """Answers HEAD wherever GET is answered (RFC 9110, section 9.3.2); the server leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on; what is outside of this layer goes on seeing HEAD."""
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        await self.app({**scope, "method": "GET"} if is_head else scope, receive, send)


class Served:
    """*app* as a server calls it, straight to its layers, of which it must have some.

    FastAPI and Starlette would only find them: in two coroutines, which a call is passed through whenever it goes on.
    """

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.state = app.state
        self._layers = cast("ASGIApp", app.middleware_stack)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one call, or live through the application's life."""
        if scope["type"] == "lifespan":
            return self.app(scope, receive, send)
        scope["app"] = self.app
        return self._layers(scope, receive, send)


def served() -> Served:
    """Return the application for the environment's settings, as a server calls it."""
    return Served(create_app())


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application for *settings*, the environment's unless given; it opens connections when it starts."""
    settings = settings or load_settings()
    logger = configure(settings.log)
    capture_stdlib(logger, settings.log)
    sentry.init(settings.sentry, release=VERSION)
    metrics, tracer = Metrics(), build_tracer(settings.tracing)
    # FastAPI silences this where it makes a route; but what checks a `Shape` is built with the first call.
    warnings.simplefilter("ignore", UnsupportedFieldAttributeWarning)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with wire(settings, metrics, tracer) as wiring:
            app.state.wiring = wiring
            _log.info("started", version=VERSION, pid=os.getpid())
            yield
        tracer.shutdown()
        sentry.close()
        _log.info("stopped")

    app: FastAPI = FastAPIOffline(
        title="Weir",
        version=VERSION,
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        redirect_slashes=False,
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
        swagger_ui_parameters={"persistAuthorization": True, "displayRequestDuration": True},
    )
    app.state = state = AppState()
    state.settings = settings
    state.passed_paths = PassedPaths(settings.gateway.passthrough, settings.gateway.passthrough_paths)
    error_handlers.install(app)
    routes.mount(app)
    _describe(app)
    _add_layers(app, settings, logger=logger, metrics=metrics, tracer=tracer)
    return app


def _describe(app: FastAPI) -> None:
    """Have the examples in the description of the API show what is null in them."""
    fastapis = app.openapi

    def openapi() -> dict[str, Any]:
        is_made = app.openapi_schema is not None
        description = fastapis()
        if not is_made:
            show_nulls(description)
        return description

    app.openapi = openapi  # type: ignore[method-assign]


def _add_layers(app: FastAPI, settings: Settings, **observers: Any) -> None:
    """Add the layers, innermost first: those of ordinary routes, the short way to metered ones, those of all."""
    http = settings.http
    app.add_middleware(HeadAsGet)
    if routes.DEPRECATIONS:
        used = observers["metrics"].deprecated_route_used
        app.add_middleware(DeprecationHeaders, deprecations=routes.DEPRECATIONS, used=used)
    app.add_middleware(
        GZipMiddleware,
        minimum_size=http.gzip_size_bytes_min,
        compresslevel=5,
        exclude_content_types=_NEVER_COMPRESSED,
    )
    stack = app.build_middleware_stack()
    assert isinstance(stack, ServerErrorMiddleware)  # noqa: S101 - left out: CallMiddleware answers bugs
    layer: ASGIApp = FrontDoor(stack.app, endpoints=routes.metered_endpoints())
    layer = BodyLimit(
        layer,
        size_bytes_max=http.body_size_bytes_max,
        upload_size_bytes_max=http.upload_size_bytes_max,
        is_upload=app.state.passed_paths.covers,
        is_managed=routes.is_managed,
        timeout_seconds=http.upload_timeout_seconds,
    )
    layer = TrustedHosts(layer, hosts=http.trusted_hosts)
    layer = HeaderLimit(layer, size_bytes_max=http.header_size_bytes_max, count_max=http.header_count_max)
    if http.cors_origins:  # outside of the limits, so that browsers may read their refusals too
        layer = CORSMiddleware(
            layer,
            allow_origins=http.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=_EXPOSED_HEADERS,
        )
    layer = CallMiddleware(layer, **observers)
    if settings.server.trusted_proxies:
        layer = ForwardedFor(layer, proxies=settings.server.trusted_proxies)
    app.middleware_stack = layer
