"""Brings an answer to the caller whose bytes Weir need not read, such as sound: chunk by chunk, and settles it.

An answer that broke is cut off, so that the caller cannot take it for a whole one.
"""

from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Final

from app.core.clock import monotonic_seconds
from app.errors import Operational
from app.gateway.answer import Answer
from app.gateway.attempt import Attempt, CallAttempt
from app.gateway.operations.operation import Answered, Unread
from app.gateway.relay_stream import broken, read_some
from app.gateway.settlement import Settlement
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.failure import UpstreamFailed, of_failure
from app.upstreams.headers import to_caller

_NOT_BYTES: Final = ("text/html", "application/json")
Measure = Callable[[int], Answered]
"""Says what an answer tells of which so many bytes were relayed."""


def measure_of(attempt: CallAttempt, content_type: str) -> Measure | None:
    """Return what measures an answer of *content_type* that is relayed as it comes, None where it is to be read.

    A web page, or a document in the place of a sound, is read.
    """
    if not content_type.lower().startswith(_NOT_BYTES) and isinstance(attempt.operation, Unread):
        return partial(attempt.operation.measured, attempt.request)
    return None


async def relay_bytes(attempt: Attempt, answer: UpstreamAnswer, settlement: Settlement, measure: Measure) -> Answer:
    """Return the answer for the caller once its first bytes are here; raises UpstreamFailed when they do not come."""
    try:
        first = await read_some(attempt, answer)
    except BaseException:
        answer.close()
        raise
    attempt.first_byte_seconds = attempt.upstream_seconds
    headers = [*to_caller(answer.raw_headers), *attempt.own_headers()]
    if (length := answer.headers.get("content-length")) is not None:
        headers.append((b"content-length", length.encode()))
    attempt.begin_answer(answer.status, headers)
    return Answer(answer.status, headers, _relay(attempt, answer, settlement, measure, first))


async def _relay(
    attempt: Attempt, answer: UpstreamAnswer, settlement: Settlement, measure: Measure, data: bytes
) -> AsyncGenerator[bytes, None]:
    """Yield what the caller gets. Closing this generator closes the upstream's connection and settles."""
    relayed_bytes = 0
    error: Operational | None = None
    try:
        while data:
            relayed_bytes += len(data)
            yield attempt.recorded(data)
            data = await read_some(attempt, answer)
    except UpstreamFailed as failure:
        error = broken(attempt, failure)
    except BaseException:  # the client left, or Weir stops and the grace period is over
        answered = measure(relayed_bytes)
        settlement.estimate(attempt, "client_left", answered.output_tokens, answer.status)
        raise
    finally:
        answer.close()
    answered = measure(relayed_bytes)
    if error is None:
        settlement.measure(attempt, answered, answer.status)
        return
    attempt.failed(of_failure("lost", is_after_head=True), monotonic_seconds())
    settlement.estimate(attempt, "upstream_broke", answered.output_tokens, answer.status)
    raise error
