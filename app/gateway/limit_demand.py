"""What a call asks of its limits, and how an answer shows them. Pure."""

from app.gateway.answer import Answer
from app.gateway.operations.operation import Charged, MeteredRequest
from app.limits.amounts import Amounts, Demand
from app.limits.headers import limit_headers
from app.limits.lease import Lease
from app.prices.usage import Usage

_UPSTREAMS_OWN = b"x-ratelimit-"


def demand_of(operation: Charged, request: MeteredRequest, counts_tokens: bool) -> Demand:
    """Return what the call asks for: its input about as long as it is, its output as long as it says it may get."""
    bound = request.bound
    output_tokens = bound.output_tokens if request.output_tokens_expected is None else request.output_tokens_expected
    known = Amounts(
        input_tokens=operation.estimated(request).input_tokens if counts_tokens else 0,
        output_tokens=bound.choices * (output_tokens or 0),
        images=bound.units.images,
        audio_seconds=request.sound_seconds,
        audio_bytes=request.sound_bytes,
    )
    return Demand(known, unbounded_outputs=bound.choices if output_tokens is None else 0)


def used(usage: Usage, request: MeteredRequest | None = None) -> Amounts:
    """Return what a call that has *usage* counts in its limits; without its *request* no sound was heard."""
    return Amounts(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        images=usage.images,
        # A call that is billed by tokens tells no seconds.
        audio_seconds=0 if request is None else usage.audio_seconds or request.sound_seconds,
        audio_bytes=0 if request is None else request.sound_bytes,
    )


def shows(answer: Answer, lease: Lease | None) -> Answer:
    """Return *answer* with the caller's own limits instead of those that the upstream has for Weir."""
    if lease is not None:
        answer.headers[:] = without_limits(answer.headers) + limit_headers(lease.charges, lease.standings)
    return answer


def without_limits(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return *headers* without any that tell of limits."""
    return [header for header in headers if not header[0].startswith(_UPSTREAMS_OWN)]
