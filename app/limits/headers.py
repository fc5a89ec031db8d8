"""OpenAI's rate limit headers, of the tightest limit on requests and the tightest on tokens. Pure.

https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
"""

from collections.abc import Collection, Sequence
from typing import Final

from app.limits.amounts import TOKENS, Counts
from app.limits.lease import Charge, Standing

_KINDS: Final[tuple[tuple[str, Collection[Counts]], ...]] = (("requests", {"requests"}), ("tokens", TOKENS))


def limit_headers(charges: Sequence[Charge], standings: Sequence[Standing]) -> dict[str, str]:
    """Return `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, as far as there are such limits that enforce."""
    headers = {}
    enforcing = [pair for pair in zip(charges, standings, strict=True) if pair[0].limit.mode == "enforcing"]
    for kind, counts in _KINDS:
        of_kind = [pair for pair in enforcing if pair[0].limit.counts in counts]
        if of_kind:
            charge, standing = min(of_kind, key=_tightness)
            headers[f"x-ratelimit-limit-{kind}"] = str(charge.limit.maximum)
            headers[f"x-ratelimit-remaining-{kind}"] = str(standing.remaining)
            headers[f"x-ratelimit-reset-{kind}"] = go_duration(standing.reset_ms)
    return headers


def go_duration(milliseconds: int) -> str:
    """Return a duration as Go writes it, such as `120ms`, `6m0s`, `1h0m0.5s` (https://pkg.go.dev/time#Duration.String)."""
    if 0 < milliseconds < 1_000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    seconds, fraction = divmod(rest, 1_000)
    text = f"{seconds}.{fraction:03}".rstrip("0").rstrip(".") if fraction else str(seconds)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{text}s"
    return f"{minutes}m{text}s" if minutes else f"{text}s"


def _tightness(pair: tuple[Charge, Standing]) -> tuple[int, int]:
    """Least remaining first, and of these the one that is back last."""
    return pair[1].remaining, -pair[1].reset_ms
