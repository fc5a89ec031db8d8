"""What a call was admitted with by its limits, and how they stood then. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from app.limits.amounts import Amounts
from app.limits.limit import Limit


class Charge(NamedTuple):
    """How much a call counts in one limit."""

    limit: Limit
    key: str
    """Of the counter."""
    cost: int


class Standing(NamedTuple):
    """How one limit stands."""

    remaining: int
    reset_ms: int
    """Until all of it is back."""
    is_over: bool = False
    """It is in shadow mode and would have refused the call."""


class Refused(NamedTuple):
    """Which limit keeps a call out, and for how long."""

    by: int
    """Its place among the call's limits."""
    wait_ms: int | None
    """After which the call is admitted, if nobody else comes; None where that cannot be known."""
    is_forever: bool = False
    """It asks for more than there ever is."""


class Verdict(NamedTuple):
    """What a call's limits say of it."""

    standings: Sequence[Standing]
    at_ms: int
    """When, on the clock of whoever said so."""
    refused: Refused | None = None


@dataclass(slots=True)
class Lease:
    """The place of one call, until it is adjusted or released."""

    id: str
    charges: Sequence[Charge]
    standings: Sequence[Standing]
    at_ms: int
    is_local: bool
    """This process admitted it by its own share, as Redis was away."""
    is_ended: bool = field(default=False, init=False)

    def concurrent_keys(self) -> Iterator[str]:
        """Yield the counters of concurrent calls that it is in."""
        return (charge.key for charge in self.charges if not charge.limit.window_ms)

    def corrections(self, used: Amounts) -> list[int]:
        """Return what to add to each of its counters, now that it has *used* that much."""
        return [used.of(charge.limit.counts) - charge.cost if charge.limit.window_ms else 0 for charge in self.charges]


class OpenLeases:
    """The leases of this process that are in counters of concurrent calls."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._counts: Counter[str] = Counter()

    def add(self, lease: Lease) -> None:
        """Note a lease that begins."""
        if keys := list(lease.concurrent_keys()):
            self._leases[lease.id] = lease
            self._counts.update(keys)

    def remove(self, lease: Lease) -> None:
        """Forget a lease that ends."""
        if self._leases.pop(lease.id, None) is not None:
            for key in lease.concurrent_keys():
                self._counts[key] -= 1
                if not self._counts[key]:
                    del self._counts[key]

    def count(self, key: str) -> int:
        """Return how many there are in one counter."""
        return self._counts[key]

    def members(self) -> list[tuple[str, str]]:
        """Return each (counter, id of a lease)."""
        return [(key, lease.id) for lease in self._leases.values() for key in lease.concurrent_keys()]
