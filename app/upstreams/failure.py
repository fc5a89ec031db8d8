"""What can go wrong between Weir and an upstream, and what of it the caller sees."""

from typing import Final, Literal

Failure = Literal["not_sent", "lost", "timed_out"]
"""`not_sent`: no connection, so nothing can have been billed. `lost`: sent, then the connection broke. `timed_out`:
sent, and no answer in time. The last two may have been billed."""

UPSTREAM_CREDENTIAL_STATUSES: Final = frozenset({401})
"""Statuses that speak of Weir's own credential, and so must not reach the caller as theirs."""


class UpstreamFailed(Exception):
    """The call did not bring a (whole) answer; `reason` is for operators and names no secret."""

    def __init__(self, failure: Failure, reason: str) -> None:
        super().__init__(reason)
        self.failure = failure
        self.reason = reason
