"""Reserves, counts and settles what begins and ends on one WebSocket: each response is an attempt of its own.

All of them have the request id of the connection; each has an entry in the ledger, a line in the log, and is counted.
"""

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Final, NamedTuple

import structlog

from app.core.clock import Clock, monotonic_seconds
from app.core.ids import new_uuid7
from app.gateway.attempt import Attempt
from app.gateway.custody_service import Custody
from app.gateway.operations.operation import Charged, MeteredRequest
from app.gateway.relay import bounded_text
from app.gateway.reservation_service import ReservationDesk
from app.gateway.settlement import Settlement
from app.gateway.stream import StoredObject
from app.keys.caller import Caller
from app.ledger.entries import Outcome
from app.ledger.service import LedgerService
from app.limits.amounts import Demand
from app.limits.lease import Lease
from app.limits.payer import payer_of
from app.limits.service import LimitService
from app.observability.context import CallContext
from app.observability.metrics import Metrics
from app.prices.usage import NO_USAGE, Usage
from app.upstreams.routing import Plan, Target
from app.upstreams.service import UpstreamService

_log: Final = structlog.get_logger()


class SocketParts(NamedTuple):
    """The services that a socket needs."""

    upstreams: UpstreamService
    custody: Custody
    reservations: ReservationDesk
    settlement: Settlement
    limits: LimitService
    ledger: LedgerService
    metrics: Metrics
    clock: Clock


class SocketAccount:
    """What the caller of one socket is charged."""

    def __init__(self, parts: SocketParts, caller: Caller, context: CallContext) -> None:
        self._parts = parts
        self._caller = caller
        self._project_id = caller.paying_project_id
        self._context = context

    async def plan(self, model: str, references: Sequence[str] = (), tool_models: Sequence[str] = ()) -> Plan:
        """Return where a call for *model* may go that names *references*, and whose tools work with *tool_models*.

        Raises ModelNotFound or NoUpstream, also unless the caller may call it, and what `Custody.narrow` raises.
        """
        plan = self._parts.upstreams.plan_for(self._caller, model, tool_models)
        return await self._parts.custody.narrow(self._project_id, plan, references)

    async def keep(self, attempt: Attempt, stored: Sequence[StoredObject]) -> None:
        """Have it written whose *stored* is before the caller sees its ids."""
        await self._parts.settlement.keep(attempt, stored)

    async def count(self, model: str, demand: Demand) -> Lease | None:
        """Count *demand* in the caller's limits; raises RateLimitExceeded, or Unavailable."""
        return await self._parts.limits.acquire(payer_of(self._caller, model), lambda _: demand)

    def release(self, lease: Lease | None) -> None:
        """Count nothing for what was not done."""
        self._parts.limits.release(lease)

    async def reserve(self, operation: Charged, request: MeteredRequest, target: Target) -> Attempt:
        """Return a reserved attempt that has not begun; raises what `ReservationDesk.make` raises, or Unavailable."""
        self._parts.ledger.require_writable()
        attempt = self.unreserved(operation, request, target)
        await self._parts.reservations.make(attempt)
        return attempt

    def unreserved(self, operation: Charged, request: MeteredRequest, target: Target) -> Attempt:
        """Return an attempt for which nothing is held: for what an upstream began against all expectation."""
        now = self._parts.clock()
        return Attempt(
            id=new_uuid7(int(now.timestamp() * 1_000)),
            context=replace(
                self._context,
                operation=operation.name,
                streamed=True,
                status=HTTPStatus.SWITCHING_PROTOCOLS,
                route="",
                bytes_sent=0,
                first_byte_seconds=None,
                span=None,
            ),
            key_id=self._caller.key_id,
            project_id=self._project_id,
            user_id=self._caller.user_id,
            operation=operation,
            request=request,
            target=target,
            started_at=now,
            body=request.body,
        )

    def begin(self, attempt: Attempt, upstream_id: object = None) -> None:
        """Note that *attempt* begins now; *upstream_id* is what the upstream calls it."""
        attempt.started_at = self._parts.clock()
        attempt.context.started_seconds = monotonic_seconds()
        attempt.upstream_request_id = bounded_text(upstream_id)

    def answered(self, attempt: Attempt) -> None:
        """Note the first piece of its answer."""
        if attempt.first_byte_seconds is None:
            attempt.first_byte_seconds = monotonic_seconds() - attempt.context.started_seconds
            attempt.context.first_byte_seconds = attempt.first_byte_seconds

    def settle(
        self,
        attempt: Attempt,
        outcome: Outcome,
        usage: Usage | None,
        output_tokens: int = 0,
        apart: Usage = NO_USAGE,
    ) -> None:
        """End *attempt* with the usage that was reported, or else with what its request uses and *output_tokens*.

        *apart* is as `Settlement.estimate` takes it.
        """
        seconds = attempt.upstream_seconds = monotonic_seconds() - attempt.context.started_seconds
        if usage is not None:
            self._parts.settlement.settle(attempt, outcome, usage, HTTPStatus.SWITCHING_PROTOCOLS)
        else:
            status = HTTPStatus.SWITCHING_PROTOCOLS
            self._parts.settlement.estimate(attempt, outcome, output_tokens, status, apart=apart)
        self._tell(attempt, seconds)

    def refused(self, attempt: Attempt) -> None:
        """End *attempt* for nothing: the upstream refused it."""
        self._parts.settlement.release(attempt, HTTPStatus.SWITCHING_PROTOCOLS)
        self._tell(attempt, 0.0)

    def cancel(self, attempt: Attempt) -> None:
        """End *attempt* without an entry: it never began."""
        self._parts.settlement.cancel(attempt)

    def _tell(self, attempt: Attempt, duration_seconds: float) -> None:
        context = attempt.context
        self._parts.metrics.call_finished(context, duration_seconds)
        _log.info(
            "response",
            request_id=context.request_id,
            operation=context.operation,
            model=context.model,
            upstream=context.upstream,
            outcome=context.outcome,
            input_tokens=context.input_tokens,
            output_tokens=context.output_tokens,
            cost_nano=context.cost_nano,
        )
