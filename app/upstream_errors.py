"""Errors of the management of upstreams; a part of the catalogue in `app/errors.py`."""

from app.errors import Refusal, Unavailable


class UpstreamExists(Refusal):
    """There is an upstream of this name already; receipts and metrics tell upstreams apart by it."""

    status = 409
    code = "upstream_exists"

    def __init__(self) -> None:
        super().__init__(
            "There is an upstream with this name already.", param="name", headers={"x-should-retry": "false"}
        )


class UpstreamTestFailed(Refusal):
    """The upstream did not answer as it should with these values, so they were not saved; the message says how."""

    status = 422
    code = "upstream_test_failed"


class UpstreamUnavailable(Unavailable):
    """The circuit breakers of all upstreams that could take a call are open; `Retry-After` says for how long."""

    code = "upstream_unavailable"

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)


class UpstreamBusy(Unavailable):
    """The upstreams want no more calls for now, or may not be sent any; `Retry-After` says for how long."""

    status = 429
    type = "upstream_error"
    code = "upstream_busy"

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
