"""Breakers on the wire."""

from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from app.core.shape import Shape
from app.core.wire import example_of
from app.upstreams.breaker import State
from app.upstreams.breaker_view import BreakerView, Mode

_EXAMPLE: Final[dict[str, Any]] = {
    "object": "weir.upstream.breaker",
    "upstream": "openai",
    "model": "gpt-4o-mini",
    "state": "open",
    "mode": "auto",
    "reason": "7 of 12 calls failed, the last: server_error",
    "since": 1795392000.25,
    "until": 1795392004.1,
    "cools_down_until": None,
    "is_stalled": False,
    "calls": 12,
    "error_rate": 0.583,
    "slow_rate": 0.0,
    "in_flight": 1,
    "first_byte_seconds": 0.41,
}


class Breaker(Shape):
    """The circuit breaker of a model at an upstream, as the process that answers sees it. Moments are Unix seconds."""

    model_config = example_of(_EXAMPLE)

    object: Literal["weir.upstream.breaker"] = "weir.upstream.breaker"
    upstream: str
    model: str
    state: State = Field(description="`open`: no call goes there. `half_open`: a few do, to try.")
    mode: Mode = Field(description="`auto`, or what an operator holds it at.")
    reason: str | None = Field(description="Why it opened.")
    since: float
    until: float | None = Field(description="When an open one will be tried again; later if nobody is there then.")
    cools_down_until: float | None = Field(description="The upstream does not want to be asked before (429).")
    is_stalled: bool = Field(description="It takes calls and has not answered for too long: it is tried last.")
    calls: int = Field(description="Within the last ten seconds, at this process; so are the rates.")
    error_rate: float
    slow_rate: float
    in_flight: int = Field(description="Calls from this process that are under way.")
    first_byte_seconds: float | None = Field(description="Usual time until an answer begins.")

    @classmethod
    def of(cls, breaker: BreakerView) -> "Breaker":
        """Return it as it is shown."""
        shown = breaker._asdict()
        for name in ("since", "until", "cools_down_until"):
            moment = shown[name]
            shown[name] = None if moment is None else round(moment.timestamp(), 3)
        for name in ("error_rate", "slow_rate", "first_byte_seconds"):
            shown[name] = None if shown[name] is None else round(shown[name], 3)
        return cls(**shown)


class BreakerList(Shape):
    """Every breaker that the process knows, by upstream and model."""

    model_config = example_of({"object": "list", "data": [_EXAMPLE]})

    object: Literal["list"] = "list"
    data: list[Breaker]


class BreakerUpdate(Shape):
    """What a breaker is to be held at."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"state": "open"}})

    state: Mode = Field(description="`open`, `closed`, or `auto` to let it be by itself again.")
