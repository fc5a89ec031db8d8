"""What is known about one HTTP call, kept in its ASGI scope: the gateway fills it, CallMiddleware logs it.

It must never hold a body, a header, a query string or a key.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from app.core.money import Nano
from app.errors import Operational, WeirError

if TYPE_CHECKING:
    from opentelemetry.trace import Span

SCOPE_KEY: Final = "weir.call"
BODY_CAME: Final = "weir.body_came"
"""True in a scope once the whole body has come: nobody has to wait for it with a clock in hand. Unset is not known."""
QUIET_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""What probes and scrapers ask for: logged at debug, not measured, not traced, whatever the Host header."""


@dataclass(slots=True, eq=False)
class CallContext:
    """One HTTP call; moments and durations are in seconds on `app.core.clock.monotonic_seconds`."""

    request_id: str
    started_seconds: float
    method: str
    path: str
    route: str = ""
    """The template that matched, such as `/v1/files/{file_id}`; known at the end of the call."""

    address: str | None = None
    """The IP address of the client; None when it came through a socket that has none."""

    operation: str | None = None
    """What the gateway was asked for, such as `chat`."""
    key_id: str | None = None
    project_id: str | None = None
    model: str | None = None
    upstream: str | None = None
    streamed: bool = False
    input_tokens: int | None = None
    """All input tokens, the cached ones among them."""
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    cost_nano: Nano | None = None
    outcome: str | None = None
    """How a call to the gateway ended, such as `completed`; None for every other route."""
    upstream_seconds: float | None = None
    first_byte_seconds: float | None = None
    """From the start of the call to the first byte of its answer's body."""

    status: int | None = None
    """None until the answer has started."""
    bytes_sent: int = 0
    answered: bool = False
    """The last byte of the answer was handed to the server."""
    client_left: bool = False
    """The client closed the connection before it had its answer."""
    error_code: str | None = None
    trouble: str | None = None
    """What happened, in words for operators, when Weir or an upstream could not answer."""
    span: "Span | str | None" = None
    """Of a call that Weir itself chose not to trace only its `traceparent`."""

    def fail(self, error: WeirError) -> None:
        """Note that the call ends with *error*, whether it becomes an answer, an event in a stream or a cut one."""
        self.error_code = error.code
        if isinstance(error, Operational):
            cause = f" ({error.__cause__!r})" if error.__cause__ else ""
            self.trouble = f"{type(error).__name__}: {error.message}{cause}"


def call_context(scope: MutableMapping[str, Any]) -> CallContext:
    """Return the context of the call that *scope* belongs to; raises KeyError outside CallMiddleware."""
    context: CallContext = scope[SCOPE_KEY]
    return context
