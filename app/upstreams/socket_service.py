"""Opens WebSockets to upstreams, with Weir's own credential and only those headers that may cross."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final
from urllib.parse import urlencode

from yarl import URL

from app.core.clock import monotonic_seconds
from app.errors import Operational, UpstreamRejectedCredential, UpstreamTimeout, UpstreamUnreachable
from app.observability.context import CallContext
from app.observability.tracing import Tracer
from app.upstreams.failure import UPSTREAM_CREDENTIAL_STATUSES, UpstreamFailed, Verdict, of_answer, of_failure
from app.upstreams.headers import to_upstream
from app.upstreams.providers.registry import address, credential_headers
from app.upstreams.routing import Plan, Target
from app.upstreams.service import UpstreamService
from app.upstreams.socket import SocketRefused, UpstreamSocket
from app.upstreams.socket_client import SocketClient
from app.upstreams.ticket import Ticket

_OWN: Final = frozenset({"accept-encoding", "connection", "content-type", "upgrade"})


class OpenSocket:
    """A socket, the upstream that it is open to, and its place among the calls that are under way there."""

    def __init__(self, socket: UpstreamSocket, target: Target, ticket: Ticket) -> None:
        self.socket = socket
        self.target = target
        self._ticket = ticket

    def failed(self, verdict: Verdict) -> None:
        """Tell the health of the upstream that it broke."""
        self._ticket.failed(verdict, monotonic_seconds())

    async def close(self) -> None:
        """Close it, and give its place back."""
        self._ticket.end()
        await self.socket.close()


class SocketOpener:
    """Opens sockets at the first upstream of a plan that lets it."""

    def __init__(self, client: SocketClient, upstreams: UpstreamService, tracer: Tracer) -> None:
        self._client = client
        self._upstreams = upstreams
        self._tracer = tracer

    async def open(
        self,
        plan: Plan,
        path: Callable[[Target], str],
        headers: Iterable[tuple[bytes, bytes]],
        subprotocols: Sequence[str],
        context: CallContext,
    ) -> OpenSocket:
        """Return a socket to *path* for the model of *plan*; nothing that costs anything has been sent then.

        *path* says where at a target, with a query or without one.

        Raises UpstreamUnavailable, UpstreamBusy, UpstreamRejectedCredential, UpstreamTimeout or UpstreamUnreachable.
        """
        raw = tuple(headers)
        tries = self._upstreams.tries(_of_one_model(plan), None)
        target, ticket = self._upstreams.begin(tries)
        while True:
            try:
                socket = await self._open(target, path(target), raw, tuple(subprotocols), context)
            except (SocketRefused, UpstreamFailed) as failure:
                verdict = _verdict(failure)
                now = monotonic_seconds()
                ticket.failed(verdict, now)
                ticket.end()
                then = tries.next(target, verdict._replace(again=False), None, now)
                another = None if then is None else tries.begin_at(then.target, now)
                if then is None or another is None:
                    raise _error(target, failure) from failure
                target, ticket = then.target, another
            except BaseException:
                ticket.end()
                raise
            else:
                ticket.head(monotonic_seconds())
                return OpenSocket(socket, target, ticket)

    async def _open(
        self,
        target: Target,
        path: str,
        headers: Iterable[tuple[bytes, bytes]],
        subprotocols: tuple[str, ...],
        context: CallContext,
    ) -> UpstreamSocket:
        upstream = target.upstream
        context.upstream = upstream.name
        with self._tracer.upstream(context, upstream.name) as span:
            outgoing = to_upstream(headers, credential_headers(upstream), context.request_id)
            for name in _OWN:
                outgoing.popall(name, None)
            self._tracer.inject(span, outgoing)
            url = URL(address(upstream, path, target.sent_model), encoded=True)
            return await self._client.open(url, outgoing, subprotocols)


def model_query(target: Target) -> str:
    """Return the query that names the model of a realtime session, as the provider of *target* expects it."""
    upstream = target.upstream
    by_deployment = upstream.provider == "azure" and upstream.api_version is not None
    return urlencode({"deployment" if by_deployment else "model": target.sent_model})


def _of_one_model(plan: Plan) -> Plan:
    """Return *plan* without the models that could stand in: they cost something else than what is reserved."""
    model = plan.targets[0].model
    return Plan(tuple(target for target in plan.targets if target.model == model))


def _verdict(failure: SocketRefused | UpstreamFailed) -> Verdict:
    if isinstance(failure, UpstreamFailed):
        return of_failure(failure.failure)
    return of_answer(failure.status) or of_failure("nonsense")


def _error(target: Target, failure: SocketRefused | UpstreamFailed) -> Operational:
    name = target.upstream.name
    if isinstance(failure, SocketRefused):
        if failure.status in UPSTREAM_CREDENTIAL_STATUSES:
            return UpstreamRejectedCredential(name)
        return UpstreamUnreachable(f"The upstream '{name}' answered {failure.status} instead of opening a WebSocket.")
    if failure.failure == "timed_out":
        return UpstreamTimeout(f"The upstream '{name}' did not open a WebSocket in time.")
    return UpstreamUnreachable(f"The connection to the upstream '{name}' failed.")
