"""The life of a call, from a caller that is known and a request that was read to an answer on its way."""

from functools import partial
from http import HTTPStatus
from typing import Final

from app.core.clock import Clock, monotonic_seconds
from app.core.ids import new_uuid7
from app.gateway.answer import Answer, Inbound
from app.gateway.attempt import Attempt
from app.gateway.explanation import Explanation
from app.gateway.limit_demand import demand_of, shows, without_limits
from app.gateway.operations.operation import MeteredRequest, Operation
from app.gateway.relay import abandoned, bounded_text, failed, relay_plain
from app.gateway.relay_stream import relay_stream
from app.gateway.reservation_service import ReservationDesk
from app.gateway.settlement import Settlement
from app.idempotency.key import StoredAnswer, read_key
from app.keys.caller import Caller
from app.ledger.service import LedgerService
from app.limits.payer import payer_of
from app.limits.service import LimitService
from app.observability.context import CallContext
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.failure import UpstreamFailed
from app.upstreams.routing import Plan
from app.upstreams.service import UpstreamService

_EVENT_STREAM: Final = "text/event-stream"


class GatewayService:
    """Runs metered calls."""

    def __init__(
        self,
        upstreams: UpstreamService,
        reservations: ReservationDesk,
        ledger: LedgerService,
        limits: LimitService,
        settlement: Settlement,
        clock: Clock,
    ) -> None:
        self._upstreams = upstreams
        self._reservations = reservations
        self._ledger = ledger
        self._limits = limits
        self._settlement = settlement
        self._clock = clock

    async def run(
        self,
        caller: Caller,
        operation: Operation,
        request: MeteredRequest,
        inbound: Inbound,
        context: CallContext,
    ) -> Answer:
        """Return the answer to *request*, its cost settled when the answer ends; raises a WeirError.

        The story, one level of calls: plan, acquire a place in every limit, reserve the most that it can cost, send,
        relay, and on the way out settlement, which also gives the place back.
        """
        plan = self._upstreams.plan_for(caller, request.model)
        self._ledger.admit()
        attempt = self._begin(caller, operation, request, plan, context)
        claim = read_key(inbound.values(b"idempotency-key"), caller.key_id, operation.path, request.body)
        if claim is not None and (kept := await self._reservations.find_kept(attempt, claim)) is not None:
            return _replay(kept)
        attempt.lease = await self._limits.acquire(payer_of(caller, request.model), partial(demand_of, attempt))
        try:
            await self._reservations.make(attempt)
        except BaseException:  # a call that was not made is counted nowhere
            self._limits.release(attempt.lease)
            raise
        try:
            answer = await self._send(attempt, inbound)
            relay = relay_stream if _is_stream(answer) else relay_plain
            return shows(await relay(attempt, answer, self._settlement), attempt.lease)
        except UpstreamFailed as failure:
            raise failed(attempt, failure, self._settlement) from failure
        except BaseException:  # most likely the client left, or Weir stops and the grace period is over
            if not attempt.is_settled:
                abandoned(attempt, self._settlement)
            raise

    async def explain(
        self, caller: Caller, operation: Operation, request: MeteredRequest, context: CallContext
    ) -> Explanation:
        """Return what `run` would do with *request* now; nothing is sent, held or written."""
        attempt = self._begin(caller, operation, request, self._upstreams.plan_for(caller, request.model), context)
        charges = self._limits.charges(payer_of(caller, request.model), partial(demand_of, attempt))
        verdict = await self._limits.look(charges)
        return (await self._reservations.explain(attempt))._replace(charges=charges, verdict=verdict)

    def _begin(
        self, caller: Caller, operation: Operation, request: MeteredRequest, plan: Plan, context: CallContext
    ) -> Attempt:
        assert caller.project_id is not None, "an admin key reached the gateway"  # noqa: S101 - the door refuses them
        context.operation = operation.name
        context.model = request.model
        target = plan.targets[0]
        context.upstream = target.upstream.name
        context.streamed = request.streamed
        started_at = self._clock()
        return Attempt(
            id=new_uuid7(int(started_at.timestamp() * 1_000)),
            context=context,
            key_id=caller.key_id,
            project_id=caller.project_id,
            user_id=caller.user_id,
            operation=operation,
            request=request,
            target=target,
            started_at=started_at,
            body=request.body,
        )

    async def _send(self, attempt: Attempt, inbound: Inbound) -> UpstreamAnswer:
        sent_seconds = monotonic_seconds()
        try:
            answer = await self._upstreams.send(
                attempt.target.upstream,
                "POST",
                attempt.operation.path + (inbound.query and f"?{inbound.query}"),
                headers=inbound.headers,
                context=attempt.context,
                body=attempt.body,
            )
        finally:
            attempt.upstream_seconds = monotonic_seconds() - sent_seconds
        attempt.upstream_request_id = bounded_text(answer.headers.get("x-request-id"))
        return answer


def _replay(kept: tuple[str, StoredAnswer]) -> Answer:
    """Return the answer that was kept, at no cost, with the name of the request that it was made for."""
    request_id, answer = kept
    own = [
        (b"idempotent-replayed", b"true"),
        (b"x-weir-original-request-id", request_id.encode()),
        (b"x-weir-cost-usd", b"0"),
    ]
    return Answer(answer.status, [*without_limits(answer.headers), *own], answer.body)


def _is_stream(answer: UpstreamAnswer) -> bool:
    content_type = answer.headers.get("content-type", "")
    return answer.status == HTTPStatus.OK and content_type.lower().startswith(_EVENT_STREAM)
