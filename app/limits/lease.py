"""What a call was admitted with by its limits, and how they stood then. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from app.limits.amounts import OUTPUTS, Amounts, Demand
from app.limits.limit import Applied, Limit


@dataclass(slots=True)
class Charge:
    """How much a call counts in one limit."""

    limit: Limit
    key: str
    """Of the counter."""
    cost: int


def charges_of(demand: Demand, applied: Sequence[Applied], output_tokens_default: int) -> list[Charge]:
    """Return what a call that asks for *demand* counts in each of the limits that are *applied* to it.

    Each answer without a maximum is expected to have *output_tokens_default*; what is only expected makes it no more
    than the limit allows.
    """
    known = demand.known.counted()
    expected = demand.unbounded_outputs * output_tokens_default
    charges = []
    for each in applied:
        limit = each.limit
        cost = known[limit.counts]
        if expected and limit.counts in OUTPUTS:
            cost = max(cost, min(limit.maximum, cost + expected))
        charges.append(Charge(limit, each.key, cost))
    return charges


@dataclass(slots=True)
class Standing:
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


@dataclass(slots=True)
class Verdict:
    """What a call's limits say of it."""

    standings: Sequence[Standing]
    at_ms: int
    """When, on the clock of whoever said so."""
    refused: Refused | None = None
    is_over: bool = False
    """One of its limits in shadow mode is over."""


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

    @classmethod
    def of(cls, lease_id: str, charges: Sequence[Charge], verdict: Verdict, *, is_local: bool = False) -> Self:
        """Return the place of an admitted call; a shadow limit that would have refused it did not count it."""
        standings = verdict.standings
        if verdict.is_over:
            charges = [charge for charge, standing in zip(charges, standings, strict=True) if not standing.is_over]
            standings = [standing for standing in standings if not standing.is_over]
        return cls(lease_id, charges, standings, verdict.at_ms, is_local)

    def concurrent_keys(self) -> list[str]:
        """Return the counters of concurrent calls that it is in."""
        return [charge.key for charge in self.charges if charge.limit.per is None]

    def is_missed(self) -> bool:
        """Tell whether some other process may want its place among concurrent calls: less than half were free."""
        for charge, standing in zip(self.charges, self.standings, strict=True):
            limit = charge.limit
            if limit.per is None and 2 * standing.remaining < limit.maximum:
                return True
        return False

    def corrections(self, used: Amounts) -> list[int]:
        """Return what to add to each of its counters, now that it has *used* that much."""
        counted = used.counted()
        return [0 if each.limit.per is None else counted[each.limit.counts] - each.cost for each in self.charges]


class OpenLeases:
    """The leases of this process that are in counters of concurrent calls."""

    def __init__(self) -> None:
        self._keys: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def add(self, lease: Lease) -> None:
        """Note a lease that begins."""
        if keys := lease.concurrent_keys():
            self._keys[lease.id] = keys
            for key in keys:
                self._counts[key] = self._counts.get(key, 0) + 1

    def remove(self, lease: Lease) -> None:
        """Forget a lease that ends."""
        for key in self._keys.pop(lease.id, ()):
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]

    def count(self, key: str) -> int:
        """Return how many there are in one counter."""
        return self._counts.get(key, 0)

    def has(self, key: str, lease_id: str) -> bool:
        """Tell whether a lease is still in one counter."""
        return key in self._keys.get(lease_id, ())

    def members(self) -> list[tuple[str, str]]:
        """Return each (counter, id of a lease)."""
        return [(key, lease_id) for lease_id, keys in self._keys.items() for key in keys]
