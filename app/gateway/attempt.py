"""One attempt at an upstream: what is sent, what is held for it, and what is learned until it is settled. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from app.core.money import Nano
from app.gateway.operations.operation import MeteredRequest, Operation
from app.idempotency.key import KeyClaim, StoredAnswer
from app.limits.lease import Lease
from app.observability.context import CallContext
from app.upstreams.routing import Target

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
    """One request as it is sent to one upstream; moments and durations are in seconds."""

    id: UUID
    """Of its reservation, and of its ledger entry."""
    context: CallContext
    key_id: str
    project_id: str
    user_id: str | None
    operation: Operation
    request: MeteredRequest
    target: Target
    started_at: datetime
    body: bytes
    """What is sent: the request's, unless a budget needs a maximum in it."""
    output_tokens_cap: int | None = None
    """That maximum, for each choice."""
    ceiling_nano: Nano = _NOTHING
    """What is reserved for it."""
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
        """Return what Weir says in the answer's headers of how the call was changed."""
        if self.output_tokens_cap is None:
            return []
        return [(b"x-weir-max-output-tokens", str(self.output_tokens_cap).encode())]
