"""Calls about what is stored already: asked of the upstream that has it, for the project whose it is. They are free."""

from collections.abc import AsyncGenerator, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from app.core.clock import monotonic_seconds
from app.errors import (
    Operational,
    UpstreamAnsweredNonsense,
    UpstreamRejectedCredential,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from app.gateway.answer import Answer, Inbound
from app.gateway.body import json_object
from app.gateway.custody_service import Custody
from app.gateway.operations.responses_stream import ResponsesStream
from app.gateway.owned_page import PageQuery, PageScan
from app.gateway.relay_stream import KEEP_ALIVE
from app.gateway.responses_usage import NO_TOOLS, stored_objects
from app.gateway.stream import BrokenStream, StoredObject
from app.gateway.usage import objects
from app.keys.caller import Caller
from app.limits.amounts import Amounts, Demand
from app.limits.payer import payer_of
from app.limits.service import LimitService
from app.observability.context import CallContext
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.failure import UPSTREAM_CREDENTIAL_STATUSES, UpstreamFailed
from app.upstreams.headers import to_caller
from app.upstreams.routing import Upstream
from app.upstreams.service import UpstreamService

_EVENT_STREAM: Final = "text/event-stream"
_UNBUFFERED: Final = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
_ONE_REQUEST: Final = Amounts()
_PAGES_MAX: Final = 50
"""Pages of an upstream that are looked through for one page of a project."""


class StoredCall(NamedTuple):
    """A call about one stored object."""

    method: str
    object_id: str
    path: str
    """Below the upstream's address, the id in it percent-encoded."""
    body: bytes | None = None
    deletes: bool = False


class StoredService:
    """Gets, changes, lists and deletes what is stored upstream."""

    def __init__(
        self, upstreams: UpstreamService, custody: Custody, limits: LimitService, keep_alive_seconds: float
    ) -> None:
        """Take services, and after how long a silence of its upstream the caller of a stream gets a comment."""
        self._upstreams = upstreams
        self._custody = custody
        self._limits = limits
        self._keep_alive_seconds = keep_alive_seconds

    async def call(self, caller: Caller, call: StoredCall, inbound: Inbound, context: CallContext) -> Answer:
        """Return the upstream's answer as it came; raises ObjectNotFound, UpstreamGone, and Operational errors.

        It counts as a request in the limits of *caller*.
        """
        project_id = caller.paying_project_id
        upstream = await self._custody.place_of(project_id, call.object_id)
        context.upstream = upstream.name
        lease = await self._limits.acquire(payer_of(caller), lambda _: Demand(_ONE_REQUEST))
        try:
            path = inbound.target(call.path)
            answer = await self._send(upstream, call.method, path, inbound, context, call.body)
            headers = to_caller(answer.raw_headers)
            if answer.headers.get("content-type", "").lower().startswith(_EVENT_STREAM):
                pieces = self._relay(answer, project_id, upstream.name, context)
                return Answer(answer.status, [*headers, *_UNBUFFERED], pieces)
            body = await _read_all(answer, upstream.name)
        finally:
            self._limits.adjust(lease, _ONE_REQUEST)
        _refuse_nonsense(answer.status, body, upstream.name)
        if answer.status < HTTPStatus.MULTIPLE_CHOICES:
            await self._custody.keep(project_id, upstream.name, _named_in(body))
            if call.deletes:
                await self._custody.forget(project_id, call.object_id)
        return Answer(answer.status, headers, body)

    async def page(
        self, caller: Caller, kind: str, path: str, inbound: Inbound, context: CallContext
    ) -> dict[str, Any] | Answer:
        """Return a page of the objects of *kind* at *path* that are the project's, or the error of an upstream.

        Of several upstreams that have some, one comes after the other. Raises ListTooLong when none of the project's
        is found among very many of others.
        """
        project_id = caller.paying_project_id
        query = PageQuery.of(inbound.query)
        upstreams = await self._custody.places_of(project_id, kind, query.after)
        scan = PageScan(query, _PAGES_MAX)
        lease = await self._limits.acquire(payer_of(caller), lambda _: Demand(_ONE_REQUEST))
        try:
            for upstream in upstreams:
                context.upstream = upstream.name
                scan.begin()
                while scan.wants_more:
                    fetch = f"{path}?{scan.query()}"
                    answer = await self._send(upstream, "GET", fetch, inbound, context, None)
                    body = await _read_all(answer, upstream.name)
                    _refuse_nonsense(answer.status, body, upstream.name)
                    if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
                        return Answer(answer.status, to_caller(answer.raw_headers), body)
                    ids = scan.take(json_object(body) or {})
                    scan.keep(await self._custody.owned(project_id, upstream.name, ids))
        finally:
            self._limits.adjust(lease, _ONE_REQUEST)
        return scan.page()

    async def _relay(
        self, answer: UpstreamAnswer, project_id: str, name: str, context: CallContext
    ) -> AsyncGenerator[bytes, None]:
        """Yield the events of a response that was made before; a stream that breaks ends with an error.

        What they name is recorded first. After each silence of the upstream there is a comment.
        """
        stream = ResponsesStream(NO_TOOLS, stores=True)
        spoke_at = monotonic_seconds()
        try:
            data: bytes | None = None
            while data != b"":
                patience_seconds = max(0.0, spoke_at + self._keep_alive_seconds - monotonic_seconds())
                data = await answer.read_soon(patience_seconds)
                piece = stream.finish() if data == b"" else stream.feed(data or b"")
                if not piece and monotonic_seconds() - spoke_at >= self._keep_alive_seconds:
                    piece = KEEP_ALIVE
                if piece:
                    await self._custody.keep(project_id, name, stream.take_stored())
                    yield piece
                    spoke_at = monotonic_seconds()
            if not (stream.is_done or stream.has_error):
                raise BrokenStream("a stream that ended without its last event")
        except BrokenStream as failure:
            error: Operational = UpstreamAnsweredNonsense(f"The upstream '{name}' sent {failure}.")
            context.fail(error)
            yield stream.error_event(error.envelope()["error"])
        except UpstreamFailed as failure:
            if not stream.is_done:
                error = _error(failure, name)
                context.fail(error)
                yield stream.error_event(error.envelope()["error"])
        finally:
            answer.close()

    async def _send(
        self,
        upstream: Upstream,
        method: str,
        path: str,
        inbound: Inbound,
        context: CallContext,
        body: bytes | None,
    ) -> UpstreamAnswer:
        try:
            answer = await self._upstreams.send(
                upstream, method, path, headers=inbound.headers, context=context, body=body
            )
        except UpstreamFailed as failure:
            raise _error(failure, upstream.name) from failure
        if answer.status in UPSTREAM_CREDENTIAL_STATUSES:
            answer.close()
            raise UpstreamRejectedCredential(upstream.name)
        return answer


async def _read_all(answer: UpstreamAnswer, name: str) -> bytes:
    try:
        with answer:
            return await answer.read_all()
    except UpstreamFailed as failure:
        raise _error(failure, name) from failure


def _error(failure: UpstreamFailed, name: str) -> Operational:
    if failure.failure == "timed_out":
        return UpstreamTimeout(f"The upstream '{name}' did not answer in time.")
    return UpstreamUnreachable(f"The connection to the upstream '{name}' failed.")


def _refuse_nonsense(status: int, body: bytes, name: str) -> None:
    """Raise UpstreamAnsweredNonsense for a redirect, and for what is not JSON."""
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise UpstreamAnsweredNonsense(f"The upstream '{name}' answered {status}, which is not followed.")
    if json_object(body) is None:
        raise UpstreamAnsweredNonsense(f"The upstream '{name}' answered {status} without a JSON body.")


def _named_in(body: bytes) -> Sequence[StoredObject]:
    """Return what an answer about an object shows of others that are the same project's: the items of a response."""
    document = json_object(body) or {}
    if document.get("object") == "response":
        return stored_objects(document, stores=True)
    items = objects(document.get("data"))
    return [StoredObject(item["id"], "item") for item in items if isinstance(item.get("id"), str)]
