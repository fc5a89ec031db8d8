"""Calls that pass through as they are: limited, reserved and written down one by one, and kept to their own project.

Nothing is sent again here: a body that came in pieces is gone, and its caller's SDK tries again by itself.
"""

from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qs, quote

from app.core.clock import monotonic_seconds
from app.core.ids import new_uuid7
from app.core.money import usd_text
from app.errors import Forbidden, ModelNotFound, NoUpstream, UpstreamAnsweredNonsense, WeirError
from app.gateway.answer import Answer, Inbound
from app.gateway.attempt import Attempt
from app.gateway.body import json_object, read_object
from app.gateway.limit_demand import demand_of, shows
from app.gateway.operations.operation import Answered
from app.gateway.operations.passed_on import PassedOn
from app.gateway.passthrough import Named, PassedPath, named_in, refuse_search
from app.gateway.passthrough_form import FormWatch, names_nothing, refuse_unreadable
from app.gateway.passthrough_pages import FilteredList
from app.gateway.references import refuse_repeated
from app.gateway.relay import abandoned, bounded_text, lost, read_all, read_refusal, refused
from app.gateway.relay_bytes import relay_bytes
from app.gateway.socket_account_service import SocketParts
from app.gateway.stream import StoredObject
from app.keys.caller import Caller
from app.limits.payer import payer_of
from app.observability.context import CallContext
from app.prices.service import PriceService
from app.prices.usage import NO_USAGE
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.body import Body
from app.upstreams.directory import Directory
from app.upstreams.failure import UpstreamFailed
from app.upstreams.headers import to_caller
from app.upstreams.routing import Plan, Target, Upstream


class PassedCall(NamedTuple):
    """What is to be passed on."""

    method: str
    path: PassedPath
    inbound: Inbound
    body: Body
    """Whole if it is JSON, else in pieces; None when there is none."""


class PassthroughService:
    """Passes calls on."""

    def __init__(
        self,
        parts: SocketParts,
        prices: PriceService,
        directory: Directory,
        allows: Callable[[Caller, str], bool],
    ) -> None:
        self._parts = parts
        self._prices = prices
        self._directory = directory
        self._allows = allows

    async def run(self, caller: Caller, call: PassedCall, context: CallContext) -> Answer:
        """Return the upstream's answer as it came.

        Raises Forbidden for a group that the project may not use, ObjectNotFound for what is another's, what keeps a
        call out of limits and budgets, and an Operational error when the upstream does not answer.
        """
        parts = self._parts
        operation = self._operation(call)
        context.operation = operation.name
        named = self._named(caller, call, operation)
        call = self._watched(call)
        plan = await self._plan(caller, call, operation, named)
        places = await self._places(caller, call)
        parts.ledger.require_writable()
        lease = await parts.limits.acquire(
            payer_of(caller, operation.request.model),
            lambda counts_tokens: demand_of(operation, operation.request, counts_tokens),
        )
        try:
            target = plan.targets[0] if not places else Target(places[0], operation.request.model)
            attempt = self._attempt(caller, operation, target, context)
            attempt.lease = lease
            await parts.reservations.make(attempt)
        except BaseException:  # a call that was not made is counted nowhere
            parts.limits.release(lease)
            raise
        try:
            if call.path.is_list(call.method):
                answer = await self._list(attempt, call, places)
            else:
                answer = await self._pass_on(attempt, call)
            return shows(answer, lease)
        except UpstreamFailed as failure:
            raise lost(attempt, failure, parts.settlement) from failure
        except BaseException:  # most likely the caller left, or its body did not arrive
            if not attempt.is_settled:
                abandoned(attempt, parts.settlement)
            raise

    def _operation(self, call: PassedCall) -> PassedOn:
        """Return what the call is to limits, budgets and prices: free, unless it may be billed or has a price."""
        operation = PassedOn(call.path.group, is_free=call.path.is_free(call.method))
        if operation.is_free and self._prices.has_price(operation.request.model, self._parts.clock()):
            operation.is_free = False
        return operation

    def _named(self, caller: Caller, call: PassedCall, operation: PassedOn) -> Named:
        """Return what the request names.

        Raises Forbidden, ModelNotFound, InvalidRequest for what is ambiguous or reaches beyond the project, and
        InvalidJson for what Weir cannot read: another parser may.
        """
        if not self._allows(caller, operation.request.model):
            raise Forbidden(
                f"Your project may not use '{call.path.group}': its model permissions do not allow "
                f"'{operation.request.model}'."
            )
        if not isinstance(call.body, bytes) or not call.body:
            return Named((), ())
        document = read_object(call.body, None, call.inbound.fields.get("content-encoding"))
        refuse_repeated(call.body)
        if self._parts.custody.isolates:
            refuse_search(call.path, document)
        named = named_in(document)
        for model in named.models:
            if not self._allows(caller, model):
                raise ModelNotFound(model)
        return named

    def _watched(self, call: PassedCall) -> PassedCall:
        """Return *call* with a body that is refused where it names what is stored; raises UnsupportedMediaType."""
        if call.body is None or isinstance(call.body, bytes):
            return call
        if names_nothing(call.path) or not self._parts.custody.isolates:
            return call
        said = call.inbound.fields.get
        refuse_unreadable(call.path, said("content-type"), said("content-encoding"))
        return call._replace(body=_looked_at(call.body))

    async def _plan(self, caller: Caller, call: PassedCall, operation: PassedOn, named: Named) -> Plan:
        """Return where the call goes: where what it names is, or the model, or else first in line."""
        project_id, custody, model = caller.paying_project_id, self._parts.custody, operation.request.model
        if call.path.object_id is not None:
            upstreams = [await custody.place_of(project_id, call.path.object_id)]
        elif named.models:
            upstreams = [target.upstream for target in self._parts.upstreams.plan_for(caller, named.models[0]).targets]
        else:
            upstreams = list(self._directory.upstreams)
        if not upstreams:
            raise NoUpstream("No upstream is configured: set OPENAI_API_KEY and start Weir again.")
        # What only the simulator serves, only it gets; everything else it gets only if it is alone.
        upstreams.sort(key=lambda upstream: (upstream.is_exclusive, upstream.priority))
        plan = Plan(tuple(Target(upstream, model) for upstream in upstreams))
        return await custody.narrow(project_id, plan, named.references)

    async def _places(self, caller: Caller, call: PassedCall) -> list[Upstream]:
        """Return the upstreams that have some of what is listed, none for any other call."""
        if not call.path.is_list(call.method):
            return []
        asked, custody, project_id = parse_qs(call.inbound.query), self._parts.custody, caller.paying_project_id
        *others, after = asked.get("after", [None])
        for cursor in dict.fromkeys((*others, *asked.get("before", ()))):  # the upstream may heed any of them
            await custody.place_of(project_id, str(cursor))
        return await custody.places_of(project_id, call.path.kind, after)

    def _attempt(self, caller: Caller, operation: PassedOn, target: Target, context: CallContext) -> Attempt:
        started_at = self._parts.clock()
        return Attempt(
            id=new_uuid7(int(started_at.timestamp() * 1_000)),
            context=context,
            key_id=caller.key_id,
            project_id=caller.paying_project_id,
            user_id=caller.user_id,
            operation=operation,
            request=operation.request,
            target=target,
            started_at=started_at,
            body=b"",
        )

    async def _pass_on(self, attempt: Attempt, call: PassedCall) -> Answer:
        upstream, custody = attempt.target.upstream, self._parts.custody
        answer = await self._send(attempt, call, upstream, call.inbound.query)
        if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
            return await self._refusal(attempt, answer)
        deletes = call.path.is_deletion(call.method)
        if not deletes and (call.path.is_content(call.method) or not _is_json(answer)):
            made = call.path.made_at(call.method, answer.headers.get("location", ""))
            stored = [] if made is None else [StoredObject(made, call.path.kind)]
            await custody.keep(attempt.project_id, upstream.name, stored)
            relayed = await relay_bytes(attempt, answer, self._parts.settlement, _nothing)
            if made is not None:
                relayed.headers.append((b"location", f"/v1/{call.path.collection}/{quote(made, safe='')}".encode()))
            return relayed
        body = await read_all(attempt, answer)
        document = json_object(body) or {}
        await custody.keep(attempt.project_id, upstream.name, list(call.path.stored(call.method, document)))
        if deletes and call.path.object_id is not None:
            await custody.forget(attempt.project_id, call.path.object_id)
        return self._settled(attempt, answer, body)

    async def _list(self, attempt: Attempt, call: PassedCall, places: list[Upstream]) -> Answer:
        """Return a page of what the project has stored at *places*, those of one upstream behind those of another.

        Where it has stored nothing, one is asked all the same, to show what an empty list looks like.
        """
        custody = self._parts.custody
        found = FilteredList(call.inbound.query, is_empty=not places)
        answer = None
        for upstream in places or [attempt.target.upstream]:
            if not found.go_on():
                break
            while not found.is_done:
                answer = await self._send(attempt, call, upstream, found.query)
                if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
                    return await self._refusal(attempt, answer)
                ids = found.read(await read_all(attempt, answer))
                if ids is None:
                    raise self._nonsense(attempt, upstream)
                found.keep(await custody.owned(attempt.project_id, upstream.name, ids))
            named = [stored for each in found.kept for stored in call.path.stored(call.method, each)]
            await custody.keep(attempt.project_id, upstream.name, named)
        assert answer is not None, "some upstream was asked"  # noqa: S101
        return self._settled(attempt, answer, found.body())

    async def _send(self, attempt: Attempt, call: PassedCall, upstream: Upstream, query: str) -> UpstreamAnswer:
        started = monotonic_seconds()
        try:
            answer = await self._parts.upstreams.send(
                upstream,
                call.method,
                call.path.raw + (query and f"?{query}"),
                headers=call.inbound.headers,
                context=attempt.context,
                body=call.body,
            )
        finally:
            attempt.upstream_seconds += monotonic_seconds() - started
        attempt.upstream_request_id = bounded_text(answer.headers.get("x-request-id"))
        return answer

    def _settled(self, attempt: Attempt, answer: UpstreamAnswer, body: bytes) -> Answer:
        attempt.first_byte_seconds = attempt.upstream_seconds
        cost = self._parts.settlement.settle(attempt, "completed", NO_USAGE, answer.status)
        headers = [*to_caller(answer.raw_headers), (b"x-weir-cost-usd", usd_text(cost).encode())]
        return Answer(answer.status, headers, body)

    async def _refusal(self, attempt: Attempt, answer: UpstreamAnswer) -> Answer:
        ended = refused(attempt, await read_refusal(attempt, answer), self._parts.settlement)
        if isinstance(ended, WeirError):
            raise ended
        attempt.context.error_code = ended.error_code
        return ended

    def _nonsense(self, attempt: Attempt, upstream: Upstream) -> UpstreamAnsweredNonsense:
        error = UpstreamAnsweredNonsense(f"The upstream '{upstream.name}' answered with what is no list.")
        self._parts.settlement.estimate(attempt, "upstream_broke", 0, error.status)
        return error


async def _looked_at(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    watch = FormWatch()
    async for piece in pieces:
        if looked_at := watch.look(piece):
            yield looked_at
    if rest := watch.rest():
        yield rest


def _nothing(_: int) -> Answered:
    return Answered(NO_USAGE)


def _is_json(answer: UpstreamAnswer) -> bool:
    return answer.headers.get("content-type", "").lower().startswith("application/json")
