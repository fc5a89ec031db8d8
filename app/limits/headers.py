"""OpenAI's rate limit headers, of the tightest limit on requests and the tightest on tokens. Pure.

https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
"""

from collections.abc import Sequence
from typing import Final

from app.limits.amounts import TOKENS, Counts
from app.limits.lease import Charge, Standing

_KINDS: Final[dict[Counts, bytes]] = {"requests": b"requests", **dict.fromkeys(TOKENS, b"tokens")}


def limit_headers(charges: Sequence[Charge], standings: Sequence[Standing]) -> list[tuple[bytes, bytes]]:
    """Return `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, as far as there are such limits that enforce."""
    tightest: dict[bytes, tuple[Charge, Standing]] = {}
    for charge, standing in zip(charges, standings, strict=True):
        kind = _KINDS.get(charge.limit.counts)
        if kind is None or charge.limit.mode != "enforcing":
            continue
        if kind in tightest:
            # Least remaining first, and of these the one that is back last.
            _, least = tightest[kind]
            if (least.remaining, -least.reset_ms) <= (standing.remaining, -standing.reset_ms):
                continue
        tightest[kind] = charge, standing
    headers = []
    for kind, (charge, standing) in tightest.items():
        headers += [
            (b"x-ratelimit-limit-" + kind, b"%d" % charge.limit.maximum),
            (b"x-ratelimit-remaining-" + kind, b"%d" % standing.remaining),
            (b"x-ratelimit-reset-" + kind, go_duration(standing.reset_ms).encode()),
        ]
    return headers


def go_duration(milliseconds: int) -> str:
    """Return a duration as Go writes it, such as `120ms`, `6m0s`, `1h0m0.5s` (https://pkg.go.dev/time#Duration.String)."""
    if 0 < milliseconds < 1_000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    seconds = f"{rest / 1_000:g}"  # in full: it has five digits at most
    if minutes >= 60:
        return f"{minutes // 60}h{minutes % 60}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
