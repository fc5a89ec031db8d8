"""Meters `/v1/responses` over a WebSocket: every `response.create` is a metered call like a POST there.

https://platform.openai.com/docs/guides/websocket-mode
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from app.errors import InvalidRequest, NotSupported, Refusal, WeirError
from app.gateway.attempt import Attempt
from app.gateway.body import optional
from app.gateway.limit_demand import demand_of
from app.gateway.operations.responses import Responses
from app.gateway.relay import bounded_text
from app.gateway.socket import Relayed, event_of, read_event
from app.gateway.socket_account_service import SocketAccount
from app.gateway.stream import EventStream
from app.ledger.entries import Outcome
from app.upstreams.routing import Plan, Target
from app.upstreams.socket_service import OpenSocket

_RESPONSES: Final = Responses()
_STEERING: Final = "Send another 'response.create' with 'previous_response_id' instead of steering a response."

Connect = Callable[[Plan], Awaitable[OpenSocket]]
"""Opens the socket to the upstream, once it is known for which model."""


@dataclass(slots=True)
class _Call:
    """One response from its request to its end."""

    attempt: Attempt
    stream: EventStream
    has_begun: bool = False
    stored_count: int = 0


class ResponsesMeter:
    """The `Meter` of one connection. Each of its lanes (`stream_id`) answers one request after another."""

    def __init__(self, account: SocketAccount, connect: Connect) -> None:
        self._account = account
        self._connect = connect
        self._target: Target | None = None
        self._lanes: dict[object, list[_Call]] = {}
        self._made: set[str] = set()
        """The responses of this connection: it goes on with them here, also with those that are not stored."""

    async def from_client(self, message: str | bytes) -> Sequence[str]:
        """Return what goes upstream for an event of the caller."""
        event = read_event(message)
        kind = event.get("type")
        if kind == "response.create":
            return [await self._create(event, str(message).encode())]
        if kind == "response.steer":
            raise NotSupported(_STEERING)
        if self._target is None:
            raise InvalidRequest("The first event must be a 'response.create'.", param="type")
        return [str(message)]

    async def from_upstream(self, message: str | bytes) -> Relayed:
        """Return what an event of the upstream leads to."""
        try:
            event = event_of(message)
        except Refusal:  # nothing can be learned of it, and nobody is hurt
            return Relayed([message])
        lane = event.get("stream_id")
        calls = self._lanes.get(lane) if lane is None or isinstance(lane, str) else None
        if not calls:
            return Relayed([message])
        if event.get("type") == "error":
            self._refused(calls)
        else:
            await self._learn(calls, event)
        if not calls:
            del self._lanes[lane]
        return Relayed([message])

    async def prepare(self) -> Sequence[str]:
        """Return nothing: here an upstream begins nothing by itself."""
        return ()

    def error_event(self, error: WeirError, cause: str | bytes = "") -> str:
        """Return the event that tells the caller of an *error*."""
        event = {"type": "error", "status": error.status, **error.envelope()}
        try:
            lane = event_of(cause).get("stream_id")
        except Refusal:
            lane = None
        if lane is not None:
            event["stream_id"] = lane
        return orjson.dumps(event).decode()

    def is_idle(self) -> bool:
        """Tell whether nothing is asked for or under way."""
        return not self._lanes

    def end(self, outcome: Outcome) -> None:
        """Settle whatever is under way."""
        for calls in self._lanes.values():
            for call in calls:
                self._settle(call, outcome)
        self._lanes = {}

    async def _create(self, event: dict[str, Any], body: bytes) -> str:
        """Reserve what *event* asks for; return the event that goes upstream."""
        request = replace(_RESPONSES.read(body, {}), streamed=True)
        lane = optional(event, "stream_id", str)  # before anything is held for it
        if request.is_background:
            raise InvalidRequest("Responses on a WebSocket cannot be made in the background.", param="background")
        references = [each for each in request.references if each not in self._made]
        plan = await self._account.plan(request.model, references, request.tool_models)
        lease = await self._account.count(request.model, demand_of(_RESPONSES, request, counts_tokens=True))
        try:
            target = await self._target_of(plan)
            attempt = await self._account.reserve(_RESPONSES, request, target)
        except BaseException:
            self._account.release(lease)
            raise
        attempt.lease = lease
        self._account.begin(attempt)
        call = _Call(attempt, _RESPONSES.stream(request))
        self._lanes.setdefault(lane, []).append(call)
        return attempt.body.decode()

    async def _target_of(self, plan: Plan) -> Target:
        """Return where in *plan* the socket is open to, which the first request decides."""
        if self._target is None:
            self._target = (await self._connect(plan)).target
        name = self._target.upstream.name
        for target in plan.targets:
            if target.upstream.name == name and target.model == plan.targets[0].model:
                return target
        raise InvalidRequest(
            f"This connection leads to the upstream '{name}', which does not answer for this model. Open another one.",
            param="model",
        )

    async def _learn(self, calls: list[_Call], event: dict[str, Any]) -> None:
        call = calls[0]
        call.has_begun = True
        stream, attempt = call.stream, call.attempt
        stream.feed(b"event: %b\ndata: %b\n\n" % (str(event.get("type")).encode(), orjson.dumps(event)))
        if "delta" in event:
            self._account.answered(attempt)
        if isinstance(response := event.get("response"), dict) and attempt.upstream_request_id is None:
            attempt.upstream_request_id = bounded_text(response.get("id"))
            if attempt.upstream_request_id is not None:
                self._made.add(attempt.upstream_request_id)
        if len(stream.stored) > call.stored_count:
            await self._account.keep(attempt, stream.stored[call.stored_count :])
            call.stored_count = len(stream.stored)
        if stream.is_done:
            calls.pop(0)
            self._settle(call, "upstream_broke" if stream.has_error else "completed")

    def _refused(self, calls: list[_Call]) -> None:
        """End what an error is about: the next that has not begun, or else what is under way."""
        call = next((call for call in calls if not call.has_begun), calls[0])
        calls.remove(call)
        if call.has_begun:
            self._settle(call, "upstream_broke")
        else:
            self._account.refused(call.attempt)

    def _settle(self, call: _Call, outcome: Outcome) -> None:
        stream, attempt = call.stream, call.attempt
        attempt.answered_model = bounded_text(stream.answered_model)
        attempt.service_tier = bounded_text(stream.service_tier)
        tokens = stream.relayed_tokens() if stream.usage is None else 0
        whole = "no_usage" if outcome == "completed" and stream.usage is None else outcome
        self._account.settle(attempt, whole, stream.usage, tokens, stream.apart)
