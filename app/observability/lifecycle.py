"""Tells callers that a route is going away: `Deprecation`, `Sunset` and `Link` headers, and a metric for operators.

RFC 9745 (Deprecation), RFC 8594 (Sunset). A layer of its own, which is only there while some route is deprecated.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Deprecation(NamedTuple):
    """That a route should not be used any more."""

    since: datetime
    link: str
    """A page that says what to use instead."""
    sunset: datetime | None = None
    """When the route stops to answer, if that is decided."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return what its answers say of it, as raw ASGI headers."""
        headers = [(b"deprecation", b"@%d" % int(self.since.timestamp()))]
        if self.sunset is not None:
            headers.append((b"sunset", format_datetime(self.sunset, usegmt=True).encode()))
        headers.append((b"link", f'<{self.link}>; rel="deprecation"; type="text/html"'.encode()))
        return headers


class DeprecationHeaders:
    """Adds the headers of *deprecations*, by the path template of a route, and tells *used* each time one is called."""

    def __init__(self, app: ASGIApp, *, deprecations: Mapping[str, Deprecation], used: Callable[[str], None]) -> None:
        self.app = app
        self._headers = {template: deprecation.headers() for template, deprecation in deprecations.items()}
        self._used = used

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, and add to the head of its answer."""

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                template = route_template(scope)
                if template in self._headers:
                    message["headers"] = [*message.get("headers", ()), *self._headers[template]]
                    self._used(template)
            await send(message)

        await self.app(scope, receive, send_marked)


def route_template(scope: Scope) -> str:
    """Return the template of the route that a call has taken, such as `/v1/files/{file_id}`; "" without one."""
    # A router that was included with a prefix leaves the whole template here, and its own part of it in `route`.
    route = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    template: str = getattr(route, "path_format", "")
    return template
