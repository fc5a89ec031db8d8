"""Sends a call where it can be answered: one attempt after another, until the first byte of an answer.

Each attempt has a reservation of its own, as one that was sent and then lost may have been billed.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from app.core.clock import Clock, monotonic_seconds
from app.core.ids import new_uuid7
from app.errors import Operational, WeirError
from app.gateway.answer import Answer, Inbound
from app.gateway.attempt import CallAttempt
from app.gateway.limit_demand import demand_of, shows
from app.gateway.operations.operation import MeteredRequest
from app.gateway.relay import abandoned, bounded_text, lost, read_refusal, refused, relay_plain
from app.gateway.relay_bytes import measure_of, relay_bytes
from app.gateway.relay_stream import relay_stream
from app.gateway.reservation_service import ReservationDesk
from app.gateway.settlement import Settlement
from app.limits.service import LimitService
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.failure import UpstreamFailed, Verdict, of_failure
from app.upstreams.routing import Plan, Target
from app.upstreams.service import UpstreamService
from app.upstreams.ticket import Ticket
from app.upstreams.tries import Next, Tries

# As plain numbers: until Python 3.12 to look up a member of an enumeration costs a call.
_MULTIPLE_CHOICES: Final = HTTPStatus.MULTIPLE_CHOICES.value
_BAD_REQUEST: Final = HTTPStatus.BAD_REQUEST.value
_EVENT_STREAM: Final = "text/event-stream"
_SHOULD_RETRY: Final = b"x-should-retry"
_SETTLED_WITHIN_SECONDS: Final = 5.0
_LOOK_AGAIN_SECONDS: Final = 0.1


class _Failed(NamedTuple):
    """How an attempt failed, before its caller got anything of it."""

    verdict: Verdict
    retry_after_seconds: float | None
    settle: Callable[[], Answer | Operational]
    """Ends the attempt; returns what its caller gets if there is no other."""


class Dispatcher:
    """Makes the attempts of calls."""

    def __init__(
        self,
        upstreams: UpstreamService,
        reservations: ReservationDesk,
        limits: LimitService,
        settlement: Settlement,
        clock: Clock,
        keep_alive_seconds: float,
    ) -> None:
        """Take services, and after how long a silence of its upstream the caller of a stream gets a comment."""
        self._upstreams = upstreams
        self._reservations = reservations
        self._limits = limits
        self._settlement = settlement
        self._clock = clock
        self._keep_alive_seconds = keep_alive_seconds

    async def narrow(self, project_id: str, plan: Plan, request: MeteredRequest) -> Plan:
        """Return what of *plan* has all that *request* names of what is stored upstream; raises as Custody does."""
        narrow = self._settlement.custody.narrow
        return await narrow(project_id, plan, request.references)

    async def answer(self, attempt: CallAttempt, tries: Tries, inbound: Inbound) -> Answer:
        """Return the answer to a call, from its first *attempt* or one after it; its place in the limits is ended.

        Raises what the reservation of the first attempt raises, and an Operational error when no upstream answers.
        """
        await self._reserve(attempt)
        while True:
            found: Answer | Operational | CallAttempt | _Failed = await self._attempt(attempt, tries, inbound)
            if isinstance(found, _Failed):
                found = await self._next(attempt, found, tries)
            if not isinstance(found, CallAttempt):
                return _last(found, attempt, tries)
            attempt = found

    async def _reserve(self, attempt: CallAttempt) -> None:
        try:
            await self._hold_place(attempt)
            await self._reservations.make(attempt)
        except BaseException:  # a call that was not made is counted nowhere
            if attempt.ticket is not None:
                attempt.ticket.take_back()
            self._limits.release(attempt.lease)
            raise

    async def _attempt(self, attempt: CallAttempt, tries: Tries, inbound: Inbound) -> Answer | Operational | _Failed:
        """Send a reserved attempt; it is settled unless it failed in a way that another may follow."""
        answer: UpstreamAnswer | None = None
        try:
            try:
                answer = await self._send(attempt, tries, inbound)
                if answer.status < _MULTIPLE_CHOICES:
                    return await self._relay(attempt, answer)
                refusal = await read_refusal(attempt, answer)
            except UpstreamFailed as failure:
                verdict = of_failure(failure.failure, is_after_head=answer is not None)
                attempt.failed(verdict, monotonic_seconds())
                return _Failed(verdict, None, partial(lost, attempt, failure, self._settlement))
            attempt.failed(refusal.verdict, monotonic_seconds(), refusal.retry_after_seconds)
            settle = partial(refused, attempt, refusal, self._settlement)
            return _Failed(refusal.verdict, refusal.retry_after_seconds, settle)
        except Operational as error:  # an answer that cannot be used: it was paid for
            return error
        except BaseException:  # most likely the client left, or Weir stops and the grace period is over
            if not attempt.is_settled:
                abandoned(attempt, self._settlement)
            raise

    async def _relay(self, attempt: CallAttempt, answer: UpstreamAnswer) -> Answer:
        if attempt.ticket is not None:
            attempt.ticket.head(monotonic_seconds())
        content_type = answer.headers.get("content-type", "")
        if content_type.lower().startswith(_EVENT_STREAM):
            return await relay_stream(attempt, answer, self._settlement, self._keep_alive_seconds)
        if (measure := measure_of(attempt, content_type)) is not None:
            return await relay_bytes(attempt, answer, self._settlement, measure)
        return await relay_plain(attempt, answer, self._settlement)

    async def _send(self, attempt: CallAttempt, tries: Tries, inbound: Inbound) -> UpstreamAnswer:
        sent_seconds = monotonic_seconds()
        if attempt.ticket is not None:
            attempt.ticket.sent(sent_seconds)
        sending = self._upstreams.call(
            attempt.target,
            inbound.target(attempt.operation.path),
            headers=inbound.headers,
            context=attempt.context,
            body=attempt.body,
            has_alternative=tries.is_choice and tries.has_elsewhere(sent_seconds),
        )
        try:
            if attempt.ticket is not None and tries.is_choice:
                answer = await _unless_stranded(sending, attempt.ticket, tries)
            else:
                answer = await sending
        finally:
            attempt.upstream_seconds = monotonic_seconds() - sent_seconds
        attempt.upstream_request_id = bounded_text(answer.headers.get("x-request-id"))
        return answer

    async def _next(self, attempt: CallAttempt, failed: _Failed, tries: Tries) -> CallAttempt | Answer | Operational:
        """End *attempt*; return the one that follows it, reserved, or what the caller gets if there is none."""
        then = tries.next(attempt.target, failed.verdict, failed.retry_after_seconds, monotonic_seconds())
        if then is None:
            return failed.settle()
        lease, attempt.lease = attempt.lease, None  # to settle does not end the place: the next attempt takes it over
        ending = failed.settle()
        try:
            await asyncio.sleep(then.pause_seconds)
            if attempt.record is not None and attempt.settled is not None:  # its idempotency key is free again then
                await asyncio.wait([attempt.settled], timeout=_SETTLED_WITHIN_SECONDS)
            begun = self._begin(then, attempt, failed, tries)
            if begun is not None:
                target, ticket = begun
                following = attempt.again(new_uuid7(int(self._clock().timestamp() * 1_000)), target, ticket)
                following.lease = lease
                await self._reserve(following)
                return following
        except WeirError:  # there is no money or no place for another attempt: the caller hears how the last one failed
            pass
        except BaseException:
            self._limits.release(lease)
            raise
        self._limits.release(lease)
        attempt.lease = lease  # its caller sees how it stood
        return ending

    def _begin(
        self, then: Next | None, attempt: CallAttempt, failed: _Failed, tries: Tries
    ) -> tuple[Target, Ticket] | None:
        """Return where the next attempt is made, with its ticket; what was ready may not be any more."""
        while then is not None:
            now = monotonic_seconds()
            ticket = tries.begin_at(then.target, now, is_again=then.is_again)
            if ticket is not None:
                return then.target, ticket
            then = None if then.is_again else tries.next(attempt.target, failed.verdict, None, now)
        return None

    async def _hold_place(self, attempt: CallAttempt) -> None:
        """Move the place in the limits of *attempt*, where it is another model's: each model has its own."""
        model = attempt.target.model
        if attempt.payer is None or attempt.payer.model == model:
            return
        self._limits.release(attempt.lease)
        attempt.payer = attempt.payer._replace(model=model)
        demand = partial(demand_of, attempt.operation, attempt.request)
        attempt.lease = await self._limits.acquire(attempt.payer, demand)


async def _unless_stranded(
    sending: Coroutine[Any, Any, UpstreamAnswer], ticket: Ticket, tries: Tries
) -> UpstreamAnswer:
    """Return the answer; raises UpstreamFailed once none is to be expected and another upstream is ready."""
    task = asyncio.ensure_future(sending)
    try:
        while True:
            now = monotonic_seconds()
            done, _ = await asyncio.wait([task], timeout=max(_LOOK_AGAIN_SECONDS, ticket.stranded_at(now) - now))
            if done:
                return task.result()
            now = monotonic_seconds()
            if ticket.is_stranded(now) and tries.has_elsewhere(now):
                raise UpstreamFailed("timed_out", "silent to every call for far longer than it usually is")
    except BaseException:
        task.add_done_callback(_close_unused)
        task.cancel()  # without effect on one that is done
        raise


def _close_unused(task: "asyncio.Task[UpstreamAnswer]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _last(found: Answer | Operational, attempt: CallAttempt, tries: Tries) -> Answer:
    """Return the answer that the caller gets; raises an Operational error."""
    if isinstance(found, Operational):
        if tries.forbids_sdk_retry:
            found.headers["x-should-retry"] = "false"
        raise found
    if found.error_code is not None or found.status >= _BAD_REQUEST:
        attempt.context.error_code = found.error_code
        if tries.forbids_sdk_retry:
            found.headers[:] = _no_more(found.headers)
    return shows(found, attempt.lease)


def _no_more(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return *headers* with the word to SDKs that they must not send the call again by themselves."""
    return [*(header for header in headers if header[0] != _SHOULD_RETRY), (_SHOULD_RETRY, b"false")]
