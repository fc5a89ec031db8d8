"""Brings a stream to the caller piece by piece, and settles it when it ends, whichever way that is.

Four endings: done, done without usage, upstream broke, client left. An error before the first byte is JSON; after it,
an event in the stream. A stream that broke never ends as a whole one does.
"""

from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Final

from app.core.clock import monotonic_seconds
from app.errors import Operational, UpstreamAnsweredNonsense, UpstreamTimeout, UpstreamUnreachable
from app.gateway.answer import Answer
from app.gateway.attempt import Attempt
from app.gateway.relay import bounded_text
from app.gateway.settlement import Settlement
from app.gateway.stream import BrokenStream, EventStream
from app.ledger.entries import Outcome
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.failure import UpstreamFailed
from app.upstreams.headers import to_caller

_UNBUFFERED: Final = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]


async def relay_stream(attempt: Attempt, answer: UpstreamAnswer, settlement: Settlement) -> Answer:
    """Return the stream for the caller once its first bytes are here; raises UpstreamFailed when none come."""
    first = b""
    try:
        first = await _read(attempt, answer)
    finally:
        if not first:
            answer.close()
    if not first:
        raise UpstreamFailed("lost", "its answer ended before it began")
    attempt.first_byte_seconds = attempt.upstream_seconds
    headers = [*to_caller(answer.header_items()), *attempt.own_headers(), *_UNBUFFERED]
    attempt.begin_answer(HTTPStatus.OK, headers)
    return Answer(HTTPStatus.OK, headers, _relay(attempt, answer, settlement, first))


async def _relay(
    attempt: Attempt, answer: UpstreamAnswer, settlement: Settlement, data: bytes
) -> AsyncGenerator[bytes, None]:
    """Yield what the caller gets. Closing this generator closes the upstream's connection and settles."""
    stream = attempt.operation.stream(attempt.request)
    error: Operational | None = None
    try:
        while data:
            if piece := stream.feed(data):
                yield attempt.recorded(piece)
            data = await _read(attempt, answer)
        if piece := stream.finish():
            yield attempt.recorded(piece)
        if not stream.is_done:
            raise BrokenStream("a stream that ended without its last event")
    except (BrokenStream, UpstreamFailed) as failure:
        if not stream.is_done:
            error = _broken(attempt, failure)
    except BaseException:  # the client left, or Weir stops and the grace period is over
        _settle(attempt, stream, settlement, "completed" if stream.is_done else "client_left")
        raise
    finally:
        answer.close()
    _settle(attempt, stream, settlement, "upstream_broke" if error or stream.has_error else "completed")
    if error is not None:
        attempt.context.fail(error)
        if not stream.has_error:
            yield stream.error_event(error.envelope()["error"])


async def _read(attempt: Attempt, answer: UpstreamAnswer) -> bytes:
    started = monotonic_seconds()
    try:
        return await answer.read_some()
    finally:
        attempt.upstream_seconds += monotonic_seconds() - started


def _broken(attempt: Attempt, failure: BrokenStream | UpstreamFailed) -> Operational:
    name = attempt.target.upstream.name
    error: Operational
    if isinstance(failure, BrokenStream):
        error = UpstreamAnsweredNonsense(f"The upstream '{name}' sent {failure}.")
    elif failure.failure == "timed_out":
        error = UpstreamTimeout(f"The upstream '{name}' stopped in the middle of its answer.")
    else:
        error = UpstreamUnreachable(f"The connection to the upstream '{name}' broke in the middle of its answer.")
    error.__cause__ = failure
    return error


def _settle(attempt: Attempt, stream: EventStream, settlement: Settlement, outcome: Outcome) -> None:
    """Settle with the usage that the stream reported, or else with what was relayed of it, counted."""
    tokens = stream.relayed_tokens() if stream.usage is None else 0
    attempt.answered_model = bounded_text(stream.answered_model)
    attempt.service_tier = bounded_text(stream.service_tier)
    if stream.usage is not None:
        settlement.settle(attempt, outcome, stream.usage, HTTPStatus.OK)
    else:
        settlement.estimate(attempt, "no_usage" if outcome == "completed" else outcome, tokens, HTTPStatus.OK)
