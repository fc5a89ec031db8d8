"""What came of trying an upstream out. Pure."""

from typing import Literal, NamedTuple

from app.upstreams.record import Fault

TrialFailure = Literal["unreachable", "timed_out", "credential_refused", "unexpected_answer"] | Fault


class Trial(NamedTuple):
    """How it went; `message` is for the administrator and without any secret."""

    failure: TrialFailure | None
    message: str
    duration_ms: int
    models: tuple[str, ...] = ()
    """What it says that it has, as far as calls are sent there for it."""
