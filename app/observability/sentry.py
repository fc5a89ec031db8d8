"""Reports bugs to Sentry, once an operator has set a DSN; nothing else is sent, and no integration is loaded.

It must never send a request, a local variable, a person or a secret.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

from app.observability.redaction import redact_value
from app.setting_groups import Sentry

if TYPE_CHECKING:
    from sentry_sdk.transport import Transport
    from sentry_sdk.types import Event, Hint

_SDK: Final = "sentry_sdk"
_FLUSH_SECONDS_MAX: Final = 2.0
_DROPPED: Final = ("request", "user", "breadcrumbs", "extra", "server_name", "modules")


def init(settings: Sentry, *, release: str | None = None, transport: "Transport | None" = None) -> None:
    """Start reporting if a DSN is set; *transport* takes the place of Sentry's own, which sends from a thread."""
    if settings.dsn is None:
        return
    sentry_sdk = importlib.import_module(_SDK)  # not before it is needed, as that takes a tenth of a second
    # Personal data is off by default; saying so is deprecated.
    sentry_sdk.init(
        dsn=settings.dsn.get_secret_value(),
        environment=settings.environment,
        release=release,
        transport=transport,
        before_send=_before_send,
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        send_client_reports=False,
        auto_session_tracking=False,
        max_breadcrumbs=0,
    )


def capture(error: BaseException, request_id: str) -> None:
    """Report *error* under the id of its call; does nothing while Sentry is off."""
    sentry_sdk: Any = sys.modules.get(_SDK)
    if sentry_sdk is None or not sentry_sdk.is_initialized():
        return
    with sentry_sdk.new_scope() as scope:
        scope.set_tag("request_id", request_id)
        scope.capture_exception(error)


def close() -> None:
    """Send what is waiting, for at most two seconds, and stop reporting."""
    sentry_sdk: Any = sys.modules.get(_SDK)
    if sentry_sdk is None:
        return
    sentry_sdk.get_client().close(timeout=_FLUSH_SECONDS_MAX)
    sentry_sdk.get_global_scope().set_client(None)


def _before_send(event: "Event", _hint: "Hint") -> "Event":
    for exception in event.get("exception", {}).get("values", []):
        for frame in (exception.get("stacktrace") or {}).get("frames", []):
            frame.pop("vars", None)
    redacted: Event = redact_value({name: value for name, value in event.items() if name not in _DROPPED})
    return redacted
