"""One attempt at an upstream: what is sent, what is held for it, and what is learned until it is settled. Pure."""

from asyncio import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from app.core.clock import monotonic_seconds
from app.core.money import Nano
from app.gateway.operations.operation import Charged, MeteredRequest, Operation
from app.idempotency.key import KeyClaim, StoredAnswer
from app.limits.lease import Lease
from app.limits.limit import Payer
from app.observability.context import CallContext
from app.prices.book import Book
from app.upstreams.failure import Verdict
from app.upstreams.routing import Target
from app.upstreams.ticket import Ticket

_NOTHING: Final = Nano(0)


class Record:
    """The answer of a call with an idempotency key, as far as its caller got it."""

    def __init__(self, claim: KeyClaim, size_bytes_max: int) -> None:
        self.claim = claim
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._size_bytes_max = size_bytes_max
        self._body = bytearray()

    def add(self, piece: bytes) -> None:
        """Add a piece of the body; of a body that is too long to be kept, nothing more than that is."""
        if not self.is_too_long:
            self._body += piece

    @property
    def is_too_long(self) -> bool:
        """Whether the body is longer than what is kept."""
        return len(self._body) > self._size_bytes_max

    def answer(self) -> StoredAnswer | None:
        """Return what is to be kept, if it can be."""
        return None if self.is_too_long else StoredAnswer(self.status, self.headers, bytes(self._body))


@dataclass(slots=True)
class Attempt:
    """One request as it is sent to one upstream; moments and durations are in seconds.

    A call that is sent again, there or elsewhere, is another attempt: each has a reservation and an entry of its own.
    """

    id: UUID
    """Of its reservation, and of its ledger entry."""
    context: CallContext
    key_id: str
    project_id: str
    user_id: str | None
    operation: Charged
    request: MeteredRequest
    target: Target
    started_at: datetime
    body: bytes
    """What is sent: the request's, unless a budget needs a maximum in it."""
    output_tokens_cap: int | None = None
    """That maximum, for each choice."""
    ceiling_nano: Nano = _NOTHING
    """What is reserved for it."""
    book: Book | None = None
    """The prices by which that was found, at the moment `priced_at`: it is charged by them too."""
    priced_at: datetime | None = None
    containers: frozenset[str] = frozenset()
    """Ids of the containers that its answer ran in and that its request does not name."""
    containers_paid: frozenset[str] = frozenset()
    """Those of them whose session was paid for by a call before it."""
    budget_window_ids: tuple[int, ...] = ()
    upstream_seconds: float = 0.0
    """Spent waiting for the upstream so far."""
    first_byte_seconds: float | None = None
    """From sending it to the first byte of the answer's body."""
    upstream_request_id: str | None = None
    answered_model: str | None = None
    service_tier: str | None = None
    is_settled: bool = False
    lease: Lease | None = None
    """Its place in the limits that it counts in."""
    record: Record | None = None
    """Keeps the answer, for a call with an idempotency key."""
    payer: Payer | None = None
    """Whose limits it counts in; None for an attempt that is only imagined."""
    ticket: Ticket | None = None
    """Its place among the calls that are under way at its upstream."""
    number: int = 1
    before_seconds: float = 0.0
    """From the start of the call to the start of this attempt, if that is not the first."""
    settled: Future[None] | None = None
    """Done when its end is in the database."""

    def __post_init__(self) -> None:
        self.context.model, self.context.upstream = self.target.model, self.target.upstream.name
        if self.target.sent_model != self.request.model:
            self.body = self.operation.renamed(self.request, self.target.sent_model)

    def failed(self, verdict: Verdict, now: float, retry_after_seconds: float | None = None) -> None:
        """Tell the health of its upstream that it failed; *now* is in seconds on the monotonic clock."""
        if self.ticket is not None:
            self.ticket.failed(verdict, now, retry_after_seconds)

    def begin_answer(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Note the head of the answer that the caller gets."""
        if self.record is not None:
            self.record.status, self.record.headers = status, list(headers)

    def recorded(self, piece: bytes) -> bytes:
        """Return *piece* of the answer's body, noted."""
        if self.record is not None:
            self.record.add(piece)
        return piece

    def own_headers(self) -> list[tuple[bytes, bytes]]:
        """Return what Weir says in the answer's headers of how the call went, and how it was changed."""
        headers = [(b"server-timing", self._timing().encode())]
        if self.output_tokens_cap is not None:
            headers.append((b"x-weir-max-output-tokens", b"%d" % self.output_tokens_cap))
        if self.target.model != self.request.model:
            headers.append((b"x-weir-model", self.target.model.encode()))
        return headers

    def _timing(self) -> str:
        """Return how long upstream and gateway took so far (https://www.w3.org/TR/server-timing/), in milliseconds.

        What earlier attempts took, pauses included, is neither's.
        """
        total_seconds = monotonic_seconds() - self.context.started_seconds - self.before_seconds
        gateway_seconds = max(0.0, total_seconds - self.upstream_seconds)
        timing = f"upstream;dur={self.upstream_seconds * 1_000:.1f}, gateway;dur={gateway_seconds * 1_000:.1f}"
        return f"{timing}, retries;dur={self.before_seconds * 1_000:.1f}" if self.before_seconds else timing


@dataclass(slots=True)
class CallAttempt(Attempt):
    """An attempt of a call of one endpoint, which may be sent again."""

    operation: Operation

    def again(self, id_: UUID, target: Target, ticket: Ticket) -> "CallAttempt":
        """Return the next attempt of the same call, which takes over its place in the limits."""
        return CallAttempt(
            id=id_,
            context=self.context,
            key_id=self.key_id,
            project_id=self.project_id,
            user_id=self.user_id,
            operation=self.operation,
            request=self.request,
            target=target,
            started_at=self.started_at,
            body=self.request.body,
            record=self.record,
            payer=self.payer,
            ticket=ticket,
            number=self.number + 1,
            before_seconds=monotonic_seconds() - self.context.started_seconds,
        )
