"""The life of a call, from a caller that is known and a request that was read to an answer on its way."""

from functools import partial

from app.core.clock import Clock
from app.core.ids import new_uuid7
from app.gateway.answer import Answer, Inbound, lasting
from app.gateway.attempt import CallAttempt, Record
from app.gateway.cache_service import AnswerCache
from app.gateway.dispatch_service import Dispatcher
from app.gateway.explanation import Explanation
from app.gateway.limit_demand import demand_of
from app.gateway.operations.operation import MeteredRequest, Operation
from app.gateway.reservation_service import ReservationDesk
from app.idempotency.key import StoredAnswer, read_key
from app.keys.caller import Caller
from app.limits.payer import payer_of
from app.limits.service import LimitService
from app.observability.context import CallContext
from app.upstreams.routing import Target
from app.upstreams.service import UpstreamService


class GatewayService:
    """Runs metered calls."""

    def __init__(
        self,
        upstreams: UpstreamService,
        reservations: ReservationDesk,
        limits: LimitService,
        cache: AnswerCache,
        dispatcher: Dispatcher,
        clock: Clock,
    ) -> None:
        self._upstreams = upstreams
        self._reservations = reservations
        self._limits = limits
        self._cache = cache
        self._dispatcher = dispatcher
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

        The story, one level of calls: plan, acquire a place in every limit, look whether the answer is kept, choose an
        upstream, and there reserve the most that it can cost, send, relay, and on the way out settlement, which also
        gives the place back.
        """
        _note(context, operation, request)
        plan = self._upstreams.plan_for(caller, request.model, request.tool_models)
        self._reservations.require_writable()
        if request.references:
            plan = await self._dispatcher.narrow(caller.paying_project_id, plan, request)
        record = None
        asked = inbound.target(operation.path)
        claim = read_key(inbound.values("idempotency-key"), caller.idempotency_scope, asked, request.identity)
        if claim is not None:
            kept = await self._reservations.find_kept(claim)
            if not isinstance(kept, Record):
                return _replay(*kept)
            record = kept
        shelf = self._cache.shelf_of(caller, operation, request, inbound)
        payer = payer_of(caller, request.model)
        lease = await self._limits.acquire(payer, partial(demand_of, operation, request))
        try:
            if shelf is not None:
                kept_answer = await self._cache.find(shelf, caller, request, context, lease)
                if kept_answer is not None:
                    return kept_answer
            said = inbound.fields.get
            tries = self._upstreams.tries(
                plan, said("x-stainless-retry-count"), said("x-stainless-read-timeout"), said("user-agent")
            )
            target, ticket = self._upstreams.begin(tries)
        except BaseException:  # a call that was not made is counted nowhere
            self._limits.release(lease)
            raise
        attempt = self._attempt(caller, operation, request, target, context)
        attempt.payer, attempt.lease, attempt.record, attempt.ticket = payer, lease, record, ticket
        answer = await self._dispatcher.answer(attempt, tries, inbound)
        return answer if shelf is None else await self._cache.keep(shelf, answer, context.outcome)

    async def explain(
        self, caller: Caller, operation: Operation, request: MeteredRequest, context: CallContext
    ) -> Explanation:
        """Return what `run` would do with *request* now; nothing is sent, held or written."""
        _note(context, operation, request)
        plan = self._upstreams.plan_for(caller, request.model, request.tool_models)
        plan = await self._dispatcher.narrow(caller.paying_project_id, plan, request)
        target, unavailable = self._upstreams.look(plan)
        attempt = self._attempt(caller, operation, request, target, context)
        charges = self._limits.charges(payer_of(caller, target.model), partial(demand_of, operation, request))
        verdict = await self._limits.look(charges)
        found = await self._reservations.explain(attempt)
        return found._replace(charges=charges, verdict=verdict, unavailable=unavailable)

    def _attempt(
        self, caller: Caller, operation: Operation, request: MeteredRequest, target: Target, context: CallContext
    ) -> CallAttempt:
        started_at = self._clock()
        return CallAttempt(
            id=new_uuid7(int(started_at.timestamp() * 1_000)),
            context=context,
            key_id=caller.key_id,
            project_id=caller.paying_project_id,
            user_id=caller.user_id,
            operation=operation,
            request=request,
            target=target,
            started_at=started_at,
            body=request.body,
        )


def _note(context: CallContext, operation: Operation, request: MeteredRequest) -> None:
    context.operation = operation.name
    context.model = request.model
    context.streamed = request.streamed


def _replay(request_id: str, answer: StoredAnswer) -> Answer:
    """Return the answer that was kept, at no cost, with the name of the request that it was made for."""
    own = [
        (b"idempotent-replayed", b"true"),
        (b"x-weir-original-request-id", request_id.encode()),
        (b"x-weir-cost-usd", b"0"),
    ]
    return Answer(answer.status, [*lasting(answer.headers), *own], answer.body)
