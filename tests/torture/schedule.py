"""What is done to the processes, and when: drawn from the seed alone. Pure.

The same seed gives the same blows in the same order. Their moments are the earliest ones: a machine on which a gateway
takes longer to start gets the later blows later.
"""

from random import Random
from typing import Literal, NamedTuple

Kind = Literal["gateway", "postgres", "valkey", "freeze"]

_WEIGHTS: dict[Kind, int] = {"gateway": 40, "postgres": 28, "valkey": 16, "freeze": 16}
_GAP_SECONDS = (0.4, 2.4)
_AWAY_SECONDS: dict[Kind, tuple[float, float]] = {
    "gateway": (0.0, 0.8),
    "postgres": (0.0, 1.0),
    "valkey": (0.0, 1.5),
    "freeze": (1.5, 4.0),
}


class Blow(NamedTuple):
    """One process is killed with SIGKILL, or stopped with SIGSTOP (`freeze`)."""

    at_seconds: float
    kind: Kind
    gateway: int
    """Which one, if it is a gateway's turn."""
    away_seconds: float
    """How long it stays away before it is started again, or goes on."""
    spares_others: bool
    """It waits until every gateway is up, as one cannot start without PostgreSQL: not always, but mostly."""


def plan_blows(seed: int, seconds: float, gateways: int) -> list[Blow]:
    """Return the blows of a run, in order; each kind comes early once, so that no short run is without it."""
    random = Random(f"blows/{seed}")
    kinds = list(_WEIGHTS)
    first = random.sample(kinds, len(kinds))
    blows: list[Blow] = []
    at_seconds = random.uniform(*_GAP_SECONDS)
    while at_seconds < seconds:
        kind = first.pop() if first else random.choices(kinds, list(_WEIGHTS.values()))[0]
        away_seconds = random.uniform(*_AWAY_SECONDS[kind])
        blows.append(Blow(at_seconds, kind, random.randrange(gateways), away_seconds, random.random() < 0.85))
        at_seconds += random.uniform(*_GAP_SECONDS)
    return blows
