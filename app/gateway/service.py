"""The life of a call, from a caller that is known and a request that was read to an answer on its way."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from app.core.clock import Clock, monotonic_seconds
from app.gateway.answer import Answer
from app.gateway.operations.chat import ChatCompletions, ChatRequest
from app.gateway.relay import abandoned, bounded_text, failed, relay_plain
from app.gateway.relay_stream import relay_stream
from app.gateway.settlement import Attempt, Settlement
from app.keys.caller import Caller
from app.ledger.service import LedgerService
from app.observability.context import CallContext
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.failure import UpstreamFailed
from app.upstreams.routing import Plan
from app.upstreams.service import UpstreamService

_EVENT_STREAM: Final = "text/event-stream"


class GatewayService:
    """Runs metered calls."""

    def __init__(self, upstreams: UpstreamService, ledger: LedgerService, settlement: Settlement, clock: Clock) -> None:
        self._upstreams = upstreams
        self._ledger = ledger
        self._settlement = settlement
        self._clock = clock

    async def run(
        self,
        caller: Caller,
        operation: ChatCompletions,
        request: ChatRequest,
        headers: Sequence[tuple[bytes, bytes]],
        context: CallContext,
    ) -> Answer:
        """Return the answer to *request*, its cost settled when the answer ends; raises a WeirError.

        The story, one level of calls: plan, (limits and the reservation of a ceiling take their place here), send,
        relay, and settlement on the way out.
        """
        plan = self._upstreams.plan(request.model)
        self._ledger.admit()
        attempt = self._begin(caller, operation, request, plan, context)
        try:
            answer = await self._send(attempt, headers)
            relay = relay_stream if _is_stream(answer) else relay_plain
            return await relay(attempt, answer, self._settlement)
        except UpstreamFailed as failure:
            raise failed(attempt, failure, self._settlement) from failure
        except BaseException:  # most likely the client left, or Weir stops and the grace period is over
            if not attempt.is_settled:
                abandoned(attempt, self._settlement)
            raise

    def _begin(
        self, caller: Caller, operation: ChatCompletions, request: ChatRequest, plan: Plan, context: CallContext
    ) -> Attempt:
        assert caller.project_id is not None, "an admin key reached the gateway"  # noqa: S101 - the door refuses them
        context.operation = operation.name
        context.model = request.model
        context.upstream = plan.upstream.name
        context.streamed = request.streamed
        return Attempt(
            context=context,
            key_id=caller.key_id,
            project_id=caller.project_id,
            operation=operation,
            request=request,
            plan=plan,
            started_at=self._clock(),
            sent_seconds=monotonic_seconds(),
        )

    async def _send(self, attempt: Attempt, headers: Sequence[tuple[bytes, bytes]]) -> UpstreamAnswer:
        try:
            answer = await self._upstreams.send(
                attempt.plan.upstream,
                "POST",
                attempt.operation.path,
                headers=headers,
                context=attempt.context,
                body=attempt.request.body,
            )
        finally:
            attempt.upstream_seconds = monotonic_seconds() - attempt.sent_seconds
        attempt.upstream_request_id = bounded_text(answer.headers.get("x-request-id"))
        return answer


def _is_stream(answer: UpstreamAnswer) -> bool:
    content_type = answer.headers.get("content-type", "")
    return answer.status == HTTPStatus.OK and content_type.lower().startswith(_EVENT_STREAM)
