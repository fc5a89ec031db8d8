"""Brings a plain answer to the caller as it came, and settles it. Streams are `relay_stream.py`'s."""

from http import HTTPStatus
from typing import Final

import orjson

from app.core.clock import monotonic_seconds
from app.core.money import usd_text
from app.errors import (
    Operational,
    UpstreamAnsweredNonsense,
    UpstreamRejectedCredential,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from app.gateway.answer import Answer
from app.gateway.attempt import Attempt
from app.gateway.body import json_object
from app.gateway.operations.operation import Whole
from app.gateway.settlement import Settlement
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.failure import UPSTREAM_CREDENTIAL_STATUSES, UpstreamFailed
from app.upstreams.headers import to_caller

CLIENT_CLOSED_REQUEST: Final = 499
"""Nginx's status for a caller that left before there was an answer; nobody ever sees it but the ledger."""
_TEXT_CHARACTERS_MAX: Final = 256


async def relay_plain(attempt: Attempt, answer: UpstreamAnswer, settlement: Settlement) -> Answer:
    """Return the whole answer for the caller, settled.

    Raises an Operational error, settled too, when it cannot be used; and UpstreamFailed when it does not arrive.
    """
    attempt.first_byte_seconds = attempt.upstream_seconds
    started = monotonic_seconds()
    try:
        with answer:
            body = await answer.read_all()
    finally:
        attempt.upstream_seconds += monotonic_seconds() - started
    if answer.status >= HTTPStatus.BAD_REQUEST:
        return _refusal(attempt, answer, body, settlement)
    answered = None
    if answer.status < HTTPStatus.MULTIPLE_CHOICES:
        answered = attempt.operation.answered(Whole(attempt.request, body, answer.headers.get("content-type", "")))
    if answered is None:
        raise _nonsense(attempt, answer, settlement)
    attempt.answered_model = bounded_text(answered.model)
    attempt.service_tier = bounded_text(answered.service_tier)
    headers = [*to_caller(answer.header_items()), *attempt.own_headers()]
    attempt.begin_answer(answer.status, headers)
    attempt.recorded(body)
    if answered.usage is not None:
        cost = settlement.settle(attempt, "completed", answered.usage, answer.status)
    else:
        cost = settlement.estimate(attempt, "no_usage", answered.output_tokens, answer.status)
    return Answer(answer.status, [*headers, (b"x-weir-cost-usd", usd_text(cost).encode())], body)


def failed(attempt: Attempt, failure: UpstreamFailed, settlement: Settlement) -> Operational:
    """Settle an attempt that broke before the caller got anything of it, and return the error that says so.

    What was never sent cannot have been billed, and has no entry; what was sent and lost may have been.
    """
    name = attempt.target.upstream.name
    error: Operational
    if failure.failure == "timed_out":
        error = UpstreamTimeout(f"The upstream '{name}' did not answer in time.")
    else:
        error = UpstreamUnreachable(f"The connection to the upstream '{name}' failed.")
    if failure.failure == "not_sent":
        settlement.cancel(attempt)
    else:
        settlement.estimate(attempt, "upstream_broke", 0, error.status)
    return error


def abandoned(attempt: Attempt, settlement: Settlement) -> None:
    """Settle an attempt that was sent and whose caller left before the answer, or that a stopping Weir gave up."""
    settlement.estimate(attempt, "client_left", 0, CLIENT_CLOSED_REQUEST)


def bounded_text(value: object) -> str | None:
    """Return a name that an upstream sent, fit for the database and the logs; None for what is not text."""
    if not isinstance(value, str):
        return None
    # Not printable are control characters, but also what is left of a header that was no UTF-8.
    return "".join(filter(str.isprintable, value[:_TEXT_CHARACTERS_MAX]))


def _refusal(attempt: Attempt, answer: UpstreamAnswer, body: bytes, settlement: Settlement) -> Answer:
    """Relay an error as it came, unless it speaks of Weir's own credential or is not JSON."""
    name = attempt.target.upstream.name
    if answer.status in UPSTREAM_CREDENTIAL_STATUSES:
        rejected = UpstreamRejectedCredential(name)
        settlement.release(attempt, rejected.status)
        raise rejected
    settlement.release(attempt, answer.status)
    headers = to_caller(answer.header_items())
    document = json_object(body)
    if document is not None:
        error = document.get("error")
        attempt.context.error_code = bounded_text(error.get("code")) if isinstance(error, dict) else None
        return Answer(answer.status, headers, body)
    nonsense = UpstreamAnsweredNonsense(f"The upstream '{name}' answered {answer.status} without a JSON body.")
    attempt.context.fail(nonsense)
    kept = [header for header in headers if header[0] not in (b"content-type", b"content-disposition")]
    return Answer(answer.status, [*kept, (b"content-type", b"application/json")], orjson.dumps(nonsense.envelope()))


def _nonsense(attempt: Attempt, answer: UpstreamAnswer, settlement: Settlement) -> UpstreamAnsweredNonsense:
    name = attempt.target.upstream.name
    if answer.status < HTTPStatus.MULTIPLE_CHOICES:
        error = UpstreamAnsweredNonsense(f"The upstream '{name}' answered with what is no answer of this endpoint.")
        settlement.estimate(attempt, "upstream_broke", 0, error.status)
    else:  # nobody did any work
        error = UpstreamAnsweredNonsense(f"The upstream '{name}' answered {answer.status}, which is not followed.")
        settlement.release(attempt, error.status)
    return error
