"""Brings a plain answer to the caller as it came, and settles it. Streams are `relay_stream.py`'s."""

from http import HTTPStatus
from typing import Final, NamedTuple

import orjson

from app.core.clock import monotonic_seconds, utc_now
from app.core.money import Nano, usd_text
from app.errors import (
    Operational,
    UpstreamAnsweredNonsense,
    UpstreamRejectedCredential,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from app.gateway.answer import Answer
from app.gateway.attempt import Attempt, CallAttempt
from app.gateway.body import json_object, says_error
from app.gateway.operations.operation import Answered, Whole
from app.gateway.settlement import Settlement
from app.upstream_errors import UpstreamBusy
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.failure import UPSTREAM_CREDENTIAL_STATUSES, UpstreamFailed, Verdict, of_answer, of_failure
from app.upstreams.headers import to_caller
from app.upstreams.retry_after import retry_after_seconds, should_retry

CLIENT_CLOSED_REQUEST: Final = 499
"""Nginx's status for a caller that left before there was an answer; nobody ever sees it but the ledger."""
_TEXT_CHARACTERS_MAX: Final = 256
_STATUS_END: Final = 600
_ROOM_AFTER_SECONDS: Final = 1


class Refused(NamedTuple):
    """An answer that is an error, or a redirect."""

    status: int
    verdict: Verdict
    retry_after_seconds: float | None
    code: str | None
    """`error.code` of its body, or else `error.type`."""
    headers: list[tuple[bytes, bytes]]
    """What of them the caller may see."""
    body: bytes | None
    """None when it is no JSON object."""


async def relay_plain(attempt: CallAttempt, answer: UpstreamAnswer, settlement: Settlement) -> Answer:
    """Return a whole answer that is no error for the caller, settled.

    Raises UpstreamAnsweredNonsense, settled too, when it cannot be used; and UpstreamFailed when it does not arrive.
    """
    attempt.first_byte_seconds = attempt.upstream_seconds
    body = await read_all(attempt, answer)
    answered = attempt.operation.answered(Whole(attempt.request, body, answer.headers.get("content-type", "")))
    if answered is None:
        attempt.failed(of_failure("nonsense"), monotonic_seconds())
        name = attempt.target.upstream.name
        error = UpstreamAnsweredNonsense(f"The upstream '{name}' answered with what is no answer of this endpoint.")
        settlement.estimate(attempt, "upstream_broke", 0, error.status)
        raise error
    attempt.answered_model = bounded_text(answered.model)
    attempt.service_tier = bounded_text(answered.service_tier)
    headers = [*to_caller(answer.raw_headers), *attempt.own_headers()]
    if attempt.record is not None and says_error(body):
        attempt.record = None  # who asks again under the same key is to be tried again
    attempt.begin_answer(answer.status, headers)
    attempt.recorded(body)
    if answered.is_pending:
        await settlement.keep(attempt, answered.stored)
        if settlement.postpone(attempt, answered.stored):
            return Answer(answer.status, headers, body)
    try:
        if answered.stored and not answered.is_pending:
            await settlement.keep(attempt, answered.stored)
    finally:  # what was used is known, even if the caller leaves meanwhile
        cost = _settle(attempt, answered, answer.status, settlement)
    return Answer(answer.status, [*headers, (b"x-weir-cost-usd", usd_text(cost).encode())], body)


def _settle(attempt: Attempt, answered: Answered, status: int, settlement: Settlement) -> Nano:
    """Settle with what a whole answer says; return what the call costs so far."""
    if answered.usage is None:
        return settlement.estimate(attempt, "no_usage", answered.output_tokens, status, apart=answered.apart)
    if answered.output_tokens:
        return settlement.measure(attempt, answered, status)
    return settlement.settle(attempt, "completed", answered.usage, status)


async def read_refusal(attempt: Attempt, answer: UpstreamAnswer) -> Refused:
    """Return an answer that is an error, or a redirect; raises UpstreamFailed when it does not arrive."""
    attempt.first_byte_seconds = attempt.upstream_seconds
    body = await read_all(attempt, answer)
    document = json_object(body)
    error = None if document is None else document.get("error")
    code = bounded_text(error.get("code") or error.get("type")) if isinstance(error, dict) else None
    retry_after = retry_after_seconds(answer.headers, utc_now())
    verdict = of_answer(answer.status, code, retry_after, should_retry(answer.headers))
    assert verdict is not None, "only called for what is no good answer"  # noqa: S101
    shown = None if document is None else body
    return Refused(answer.status, verdict, retry_after, code, to_caller(answer.raw_headers), shown)


def lost(attempt: Attempt, failure: UpstreamFailed, settlement: Settlement) -> Operational:
    """Settle an attempt that broke before the caller got anything of it, and return the error that says so.

    What was never sent cannot have been billed, and has no entry; what was sent and lost may have been.
    """
    name = attempt.target.upstream.name
    error: Operational
    if failure.failure == "no_room":
        error = UpstreamBusy("All connections that Weir may have to upstreams are in use.", _ROOM_AFTER_SECONDS)
    elif failure.failure == "timed_out":
        error = UpstreamTimeout(f"The upstream '{name}' did not answer in time.")
    elif failure.failure == "nonsense":
        error = UpstreamAnsweredNonsense(f"The upstream '{name}' sent an answer that cannot be read.")
    else:
        error = UpstreamUnreachable(f"The connection to the upstream '{name}' failed.")
    error.__cause__ = failure
    if failure.failure in ("not_sent", "no_room"):
        settlement.cancel(attempt)
    else:
        settlement.estimate(attempt, "upstream_broke", 0, error.status)
    return error


def refused(attempt: Attempt, refusal: Refused, settlement: Settlement) -> Answer | Operational:
    """Settle an attempt whose upstream refused it: nobody did any work. Return the error as it came.

    Unless it speaks of Weir's own credential, is a redirect, or is not JSON.
    """
    name = attempt.target.upstream.name
    if refusal.status in UPSTREAM_CREDENTIAL_STATUSES:
        rejected = UpstreamRejectedCredential(name)
        settlement.release(attempt, rejected.status)
        return rejected
    if not HTTPStatus.BAD_REQUEST <= refusal.status < _STATUS_END:
        error = UpstreamAnsweredNonsense(f"The upstream '{name}' answered {refusal.status}, which is not followed.")
        settlement.release(attempt, error.status)
        return error
    settlement.release(attempt, refusal.status)
    if refusal.body is not None:
        return Answer(refusal.status, refusal.headers, refusal.body, error_code=refusal.code)
    nonsense = UpstreamAnsweredNonsense(f"The upstream '{name}' answered {refusal.status} without a JSON body.")
    attempt.context.fail(nonsense)
    kept = [header for header in refusal.headers if header[0] not in (b"content-type", b"content-disposition")]
    body = orjson.dumps(nonsense.envelope())
    return Answer(refusal.status, [*kept, (b"content-type", b"application/json")], body, error_code=nonsense.code)


def abandoned(attempt: Attempt, settlement: Settlement) -> None:
    """Settle an attempt that was sent and whose caller left before the answer, or that a stopping Weir gave up."""
    settlement.estimate(attempt, "client_left", 0, CLIENT_CLOSED_REQUEST)


def bounded_text(value: object) -> str | None:
    """Return a name that an upstream sent, fit for the database and the logs; None for what is not text."""
    if not isinstance(value, str):
        return None
    text = value[:_TEXT_CHARACTERS_MAX]
    # Not printable are control characters, but also what is left of a header that was no UTF-8.
    return text if text.isprintable() else "".join(filter(str.isprintable, text))


async def read_all(attempt: Attempt, answer: UpstreamAnswer) -> bytes:
    """Return the whole body of an answer; raises UpstreamFailed when it does not arrive."""
    started = monotonic_seconds()
    try:
        with answer:
            return await answer.read_all()
    finally:
        attempt.upstream_seconds += monotonic_seconds() - started
