"""The life of a WebSocket: who may open it, where it leads, and who meters it."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple
from urllib.parse import urlencode

from app.errors import MissingParameter, NotSupported
from app.gateway.answer import Inbound
from app.gateway.body import read_model
from app.gateway.realtime_service import RealtimeMeter
from app.gateway.responses_socket_service import ResponsesMeter
from app.gateway.socket import ClientSocket
from app.gateway.socket_account_service import SocketAccount, SocketParts
from app.gateway.socket_session_service import SessionRules, SocketSession
from app.keys.caller import Caller
from app.limits.amounts import Amounts, Demand
from app.observability.context import CallContext
from app.upstreams.routing import Plan, Target
from app.upstreams.socket_service import OpenSocket, SocketOpener, model_query

_TRANSCRIBER: Final = "gpt-4o-transcribe"
"""Where a session that only transcribes goes when its address names no model: where this one goes."""
_BETA: Final = "realtime=v1"
_CALLS: Final = "Sound and events of calls over WebRTC and SIP do not pass through Weir: open a session of your own."


class Arrival(NamedTuple):
    """A caller that wants a WebSocket, and has not got it yet."""

    caller: Caller
    context: CallContext
    inbound: Inbound
    query: tuple[tuple[str, str], ...]
    subprotocols: tuple[str, ...]
    """Those that may go upstream."""
    accept: Callable[[str | None], Awaitable[ClientSocket]]
    """Opens the caller's end, with a subprotocol."""
    require_allowed: Callable[[], Awaitable[object]]
    """Raises a Refusal once the caller may not go on."""

    def find(self, name: str) -> str | None:
        """Return the first value of a parameter, None without one."""
        return next((value for key, value in self.query if key == name), None)


class GatewaySockets:
    """Runs WebSockets."""

    def __init__(self, opener: SocketOpener, parts: SocketParts, rules: SessionRules) -> None:
        self._opener = opener
        self._parts = parts
        self._rules = rules

    async def run_realtime(self, arrival: Arrival) -> None:
        """Run a realtime session until it ends.

        Before it is open: raises a Refusal or an Operational error, which becomes an HTTP answer.
        """
        model = _realtime_model(arrival)
        context = arrival.context
        context.operation, context.model = "realtime", model
        account = SocketAccount(self._parts, arrival.caller, context)
        plan = await account.plan(model)
        self._parts.ledger.require_writable()
        lease = await account.count(model, Demand(Amounts()))
        try:
            upstream = await self._open(arrival, plan, _realtime_path(arrival))
            try:
                client = await arrival.accept(upstream.socket.subprotocol)
                session = SocketSession(client, self._rules, arrival.require_allowed, context)
                session.attach(upstream)
                is_beta = any(_BETA in value for value in arrival.inbound.values("openai-beta"))
                await session.run(RealtimeMeter(account, upstream.target, is_beta=is_beta))
            finally:
                await upstream.close()
        finally:
            self._parts.limits.adjust(lease, Amounts())

    async def run_responses(self, arrival: Arrival) -> None:
        """Run a connection on which responses are made, until it ends."""
        context = arrival.context
        context.operation = "responses"
        account = SocketAccount(self._parts, arrival.caller, context)
        self._parts.ledger.require_writable()
        client = await arrival.accept(None)
        session = SocketSession(client, self._rules, arrival.require_allowed, context)

        async def connect(plan: Plan) -> OpenSocket:
            upstream = await self._open(arrival, plan, lambda _: "/responses")
            session.attach(upstream)
            return upstream

        await session.run(ResponsesMeter(account, connect))

    async def _open(self, arrival: Arrival, plan: Plan, path: Callable[[Target], str]) -> OpenSocket:
        return await self._opener.open(plan, path, arrival.inbound.headers, arrival.subprotocols, arrival.context)


def _realtime_model(arrival: Arrival) -> str:
    if arrival.find("call_id") is not None:
        raise NotSupported(_CALLS)
    model = arrival.find("model")
    if model:
        return read_model({"model": model})
    if arrival.find("intent") == "transcription":
        return _TRANSCRIBER
    raise MissingParameter("model")


def _realtime_path(arrival: Arrival) -> Callable[[Target], str]:
    """Return the path with the caller's query, in which the model is called what its upstream calls it."""
    others = urlencode([(name, value) for name, value in arrival.query if name != "model"])
    names_model = arrival.find("model") is not None

    def path(target: Target) -> str:
        own = model_query(target) if names_model else ""
        return "/realtime?" + "&".join(filter(None, (own, others)))

    return path
