"""What can go wrong between Weir and an upstream, and what is done about it: one table, rendered into the docs.

Pure: it judges an attempt that failed, and never asks what time it is or who else could take the call.
"""

from typing import Final, Literal, NamedTuple

Failure = Literal["not_sent", "no_room", "lost", "timed_out", "nonsense"]
"""`not_sent`: no connection, so nothing can have been billed. `no_room`: the same, because Weir has no connection to
spare. `lost`: sent, then the connection broke. `timed_out`: sent, and no answer in time. `nonsense`: an answer that
cannot be read. The last three may have been billed."""

Counts = Literal["well", "failed", "silent", "cool_down", "nothing", "not_asked"]
"""What an attempt is to the breaker. `silent` is a failure of an upstream that did not even answer; a `cool_down` is
none, but nothing is sent there for a while. `nothing`: it answered, but that says nothing of it."""

UPSTREAM_CREDENTIAL_STATUSES: Final = frozenset({401})
"""Statuses that speak of Weir's own credential, and so must not reach the caller as theirs."""
RETRY_AFTER_SECONDS_MAX: Final = 5.0
"""An upstream that asks for more patience than this is not waited for; the caller is told instead."""
_QUOTA_CODES: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


class UpstreamFailed(Exception):
    """The call did not bring a (whole) answer; `reason` is for operators and names no secret."""

    def __init__(self, failure: Failure, reason: str) -> None:
        super().__init__(reason)
        self.failure = failure
        self.reason = reason


class Verdict(NamedTuple):
    """What to do about an attempt that failed."""

    name: str
    """For metrics, logs and breakers: the second column of the table."""
    what: str
    """What failed, in words."""
    elsewhere: bool
    """Whether another upstream may be tried."""
    again: bool
    """Whether the same upstream may be tried again, after a while and within the retry budget."""
    counts: Counts
    may_be_billed: bool
    """Whether the upstream may charge for it all the same."""


_NOT_SENT: Final = Verdict(
    "not_sent", "No connection: DNS, refused, TLS, no route, too slow to connect", True, True, "silent", False
)
_NO_ROOM: Final = Verdict(
    "no_room", "All connections that Weir may have are in use (`connections_max`)", False, False, "not_asked", False
)
_LOST: Final = Verdict("lost", "Sent, and the connection broke before the answer's head", True, True, "failed", True)
_TIMED_OUT: Final = Verdict("timed_out", "Sent, and no head of an answer in time", True, False, "silent", True)
_BROKEN_OFF: Final = Verdict(
    "broken_off", "The answer broke off, or fell silent, after its head", False, False, "failed", True
)
_NONSENSE: Final = Verdict("nonsense", "200 with a body that cannot be read", False, False, "failed", True)
_REDIRECT: Final = Verdict("redirect", "1xx or 3xx: it is not followed", True, False, "failed", False)
_CREDENTIAL: Final = Verdict("credential", "401, 403: Weir's credential is not accepted", True, False, "failed", False)
_NO_QUOTA: Final = Verdict(
    "no_quota", "402, or 429 `insufficient_quota`: Weir's account has no money left", True, False, "cool_down", False
)
_NO_MODEL: Final = Verdict("not_found", "404: a model that was removed, say", True, False, "nothing", False)
_TOO_SLOW: Final = Verdict("request_timeout", "408", True, True, "failed", False)
_CONFLICT: Final = Verdict("conflict", "409", False, True, "well", False)
_LIMITED: Final = Verdict(
    "rate_limited", "429, with a `Retry-After` of at most 5 s or none", True, True, "cool_down", False
)
_LIMITED_LONG: Final = Verdict("rate_limited", "429, with a longer `Retry-After`", True, False, "cool_down", False)
_BUSY: Final = Verdict("overloaded", "503 or 529, with a `Retry-After` of at most 5 s", True, True, "cool_down", False)
_BUSY_LONG: Final = Verdict("overloaded", "503 or 529, with a longer `Retry-After`", True, False, "cool_down", False)
_SERVER_ERROR: Final = Verdict(
    "server_error", "Every other 5xx, 503 and 529 without `Retry-After` too", True, True, "failed", False
)
_CALLERS_FAULT: Final = Verdict(
    "callers_fault", "Every other 4xx, 400, 413 and 422 among them", False, False, "well", False
)

VERDICTS: Final = (
    _NOT_SENT,
    _NO_ROOM,
    _LOST,
    _TIMED_OUT,
    _BROKEN_OFF,
    _NONSENSE,
    _REDIRECT,
    _CREDENTIAL,
    _NO_QUOTA,
    _NO_MODEL,
    _TOO_SLOW,
    _CONFLICT,
    _LIMITED,
    _LIMITED_LONG,
    _BUSY,
    _BUSY_LONG,
    _SERVER_ERROR,
    _CALLERS_FAULT,
)
"""The whole table, in the order in which docs/reference/retries.md shows it."""
_OF_FAILURE: Final[dict[Failure, Verdict]] = {
    "not_sent": _NOT_SENT,
    "no_room": _NO_ROOM,
    "lost": _LOST,
    "timed_out": _TIMED_OUT,
    "nonsense": _NONSENSE,
}
_OF_STATUS: Final = {
    401: _CREDENTIAL,
    402: _NO_QUOTA,
    403: _CREDENTIAL,
    404: _NO_MODEL,
    408: _TOO_SLOW,
    409: _CONFLICT,
}
_OVERLOADED_STATUSES: Final = frozenset({503, 529})


def of_failure(failure: Failure, *, is_after_head: bool = False) -> Verdict:
    """Return the verdict on an attempt that brought no usable answer; *is_after_head* once the answer had begun."""
    if is_after_head and failure != "nonsense":
        return _BROKEN_OFF
    return _OF_FAILURE[failure]


def of_answer(
    status: int, code: str | None = None, retry_after_seconds: float | None = None, should_retry: bool | None = None
) -> Verdict | None:
    """Return the verdict on an answer with *status*, None for a good one (2xx).

    *code* is `error.code` (or `error.type`) of its body, as far as it was read; *should_retry* is what the upstream's
    own `x-should-retry` says, whose `false` is heeded.
    """
    if 200 <= status <= 299:
        return None
    verdict = _of_error(status, code, retry_after_seconds)
    return verdict._replace(again=False) if should_retry is False else verdict


def _of_error(status: int, code: str | None, retry_after_seconds: float | None) -> Verdict:
    is_short = (retry_after_seconds or 0.0) <= RETRY_AFTER_SECONDS_MAX
    if status == 429:
        if code in _QUOTA_CODES:
            return _NO_QUOTA
        return _LIMITED if is_short else _LIMITED_LONG
    if status in _OVERLOADED_STATUSES and retry_after_seconds is not None:
        return _BUSY if is_short else _BUSY_LONG
    if status < 400:
        return _REDIRECT
    return _OF_STATUS.get(status, _CALLERS_FAULT if status < 500 else _SERVER_ERROR)
