"""Says why a limit keeps a call out, and when to come back. Pure."""

from collections.abc import Sequence
from typing import Final

from app.limit_errors import RateLimitExceeded
from app.limits.amounts import TOKENS
from app.limits.headers import go_duration, limit_headers
from app.limits.lease import Charge, Refused, Standing

_OWNERS: Final = {
    "organization": "the organization",
    "project": "this project",
    "user": "this user",
    "service_account": "this service account",
    "api_key": "this API key",
    "address": "calls from this address that are not authenticated",
}


def rate_limited(charges: Sequence[Charge], standings: Sequence[Standing], refused: Refused) -> RateLimitExceeded:
    """Return the refusal of a call with *charges*."""
    charge, standing = charges[refused.by], standings[refused.by]
    limit = charge.limit
    headers = {name.decode(): value.decode() for name, value in limit_headers(charges, standings)}
    kind = "tokens" if limit.counts in TOKENS else "requests" if limit.counts == "concurrent" else limit.counts
    facts = f"{limit.quantity}: limit {limit.maximum:,}, remaining {standing.remaining:,}, requested {charge.cost:,}"
    if refused.is_forever:
        headers["x-should-retry"] = "false"
        message = f"Request too large for '{limit.name}' of {_OWNERS[limit.scope]} ({limit.id}), on {facts}."
        return RateLimitExceeded(message, kind, headers=headers)
    if refused.wait_ms is None:
        advice = "Please try again once other calls have ended."
    else:
        advice = f"Please try again in {go_duration(refused.wait_ms)}."
        headers["retry-after-ms"] = str(refused.wait_ms)
        headers["retry-after"] = str(-(-refused.wait_ms // 1_000))
    message = f"Rate limit '{limit.name}' of {_OWNERS[limit.scope]} ({limit.id}) reached, on {facts}. {advice}"
    return RateLimitExceeded(message, kind, headers=headers)
