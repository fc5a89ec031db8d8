"""What an operator is shown of a breaker: in moments and shares, as this process sees it. Pure."""

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from app.upstreams.breaker import State
from app.upstreams.target_health import TargetHealth

Mode = Literal["auto", "open", "closed"]
"""`auto`: by itself; else an operator holds it so."""


class BreakerView(NamedTuple):
    """A breaker at a moment. Shares are from 0 to 1, of the calls within the last seconds."""

    upstream: str
    model: str
    state: State
    mode: Mode
    reason: str | None
    """Why it opened last, unless it is closed."""
    since: datetime
    until: datetime | None
    """When it is to be half-open, if it is open by itself."""
    cools_down_until: datetime | None
    is_stalled: bool
    calls: int
    error_rate: float
    slow_rate: float
    in_flight: int
    first_byte_seconds: float | None
    """The usual time to the head of an answer, None when there was none yet."""


def view(target: TargetHealth, monotonic: float, now: datetime) -> BreakerView:
    """Return what is to be seen at *now*, which is *monotonic* on the clock that breakers go by."""

    def moment(at: float) -> datetime:
        return now + timedelta(seconds=at - monotonic)

    breaker = target.breaker
    breaker.update(monotonic)
    calls, failures, slow = breaker.rates(monotonic)
    is_closed, forced = breaker.state == "closed", breaker.forced
    return BreakerView(
        upstream=target.upstream.name,
        model=target.model,
        state=breaker.state,
        mode=forced or "auto",
        reason=None if is_closed or forced else breaker.why,
        since=moment(breaker.since),
        until=moment(breaker.until) if breaker.state == "open" and not forced else None,
        cools_down_until=moment(breaker.cool_until) if breaker.cool_until > monotonic else None,
        is_stalled=target.is_stalled(monotonic),
        calls=calls,
        error_rate=failures / calls if calls else 0.0,
        slow_rate=slow / calls if calls else 0.0,
        in_flight=target.in_flight,
        first_byte_seconds=target.head_time.mean_seconds,
    )
