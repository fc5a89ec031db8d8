"""What a call asks of its limits, and how an answer shows them. Pure."""

from app.gateway.answer import Answer
from app.gateway.attempt import Attempt
from app.limits.amounts import Amounts, Demand
from app.limits.headers import limit_headers
from app.limits.lease import Lease
from app.prices.usage import Usage

_UPSTREAMS_OWN = b"x-ratelimit-"


def demand_of(attempt: Attempt, counts_tokens: bool) -> Demand:
    """Return what the call asks for: its input about as long as it is, its output as long as it says it may get."""
    if not counts_tokens:
        return Demand(Amounts())
    bound = attempt.request.bound
    input_tokens = attempt.operation.estimated(attempt.request).input_tokens
    if bound.output_tokens is None:
        return Demand(Amounts(input_tokens=input_tokens), unbounded_outputs=bound.choices)
    return Demand(Amounts(input_tokens=input_tokens, output_tokens=bound.choices * bound.output_tokens))


def used(usage: Usage) -> Amounts:
    """Return what a call that has *usage* counts in its limits."""
    return Amounts(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)


def shows(answer: Answer, lease: Lease | None) -> Answer:
    """Return *answer* with the caller's own limits instead of those that the upstream has for Weir."""
    if lease is not None:
        kept = without_limits(answer.headers)
        own = limit_headers(lease.charges, lease.standings).items()
        answer.headers[:] = [*kept, *((name.encode(), value.encode()) for name, value in own)]
    return answer


def without_limits(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return *headers* without any that tell of limits."""
    return [header for header in headers if not header[0].startswith(_UPSTREAMS_OWN)]
