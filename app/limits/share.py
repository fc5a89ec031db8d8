"""The limits as one process can keep them by itself while Redis is away: its own share of each. Pure.

It counts as `scripts/acquire.lua` does, but only what it has admitted itself since then.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from app.limits.lease import Charge, Lease, OpenLeases, Refused, Standing, Verdict
from app.limits.limit import BUCKETS

_COUNTERS_MAX: Final = 10_000


class Window:
    """What was admitted in the current window, by its steps. Moments are in milliseconds and never go back."""

    def __init__(self, step_ms: int) -> None:
        self._step_ms = step_ms
        self._buckets: dict[int, int] = {}
        self.total = 0

    def slide(self, now_ms: int) -> None:
        """Forget what is a whole window ago."""
        oldest = now_ms // self._step_ms - BUCKETS
        for bucket in [bucket for bucket in self._buckets if bucket < oldest]:
            self.total -= self._buckets.pop(bucket)

    def add(self, at_ms: int, amount: int) -> None:
        """Count *amount*, which may be negative, for the moment *at_ms*."""
        bucket = at_ms // self._step_ms
        counted = self._buckets.get(bucket, 0)
        amount = max(amount, -counted)
        self._buckets[bucket] = counted + amount
        self.total += amount

    def correct(self, at_ms: int, amount: int) -> None:
        """Add *amount* to what was counted for the moment *at_ms*, if that still counts."""
        if at_ms // self._step_ms in self._buckets:
            self.add(at_ms, amount)

    def wait_ms(self, now_ms: int, excess: int) -> int:
        """Return how long it takes until *excess*, at most the total, counts no more."""
        gone = zip(self._buckets, accumulate(self._buckets.values()), strict=True)
        bucket = next(bucket for bucket, amount in gone if amount >= excess)
        return (bucket + 1 + BUCKETS) * self._step_ms - now_ms

    def reset_ms(self, now_ms: int) -> int:
        """Return how long it takes until nothing counts any more."""
        return self.wait_ms(now_ms, self.total) if self.total else 0


class Share:
    """The counters of this process."""

    def __init__(self, open_leases: OpenLeases) -> None:
        self._open = open_leases
        self._windows: dict[str, Window] = {}

    def acquire(self, charges: Sequence[Charge], processes: int, now_ms: int, *, only_looks: bool = False) -> Verdict:
        """Return what this process's share, one part of *processes*, says of a call; admitted, it is counted."""
        refused: Refused | None = None
        uses: list[tuple[int, int, bool]] = []
        for index, charge in enumerate(charges):
            maximum = share_of(charge.limit.maximum, processes)
            used = self._used(charge, now_ms)
            is_over = charge.cost > 0 and used + charge.cost > maximum
            if is_over and charge.limit.mode == "enforcing":
                found = self._refusal(index, charge, used + charge.cost - maximum, maximum, now_ms)
                refused = max(refused or found, found, key=_severity)
            uses.append((maximum, used, is_over))
        standings = []
        for charge, (maximum, used, is_over) in zip(charges, uses, strict=True):
            cost = 0 if refused or is_over or only_looks else charge.cost
            window = self._windows.get(charge.key)
            if cost and charge.limit.window_ms:
                window = self._window(charge)
                window.add(now_ms, cost)
            reset_ms = 0 if window is None else window.reset_ms(now_ms)
            is_shadow = charge.limit.mode == "shadow"
            standings.append(Standing(max(0, maximum - used - cost), reset_ms, is_over and is_shadow))
        return Verdict(standings, now_ms, refused, any(standing.is_over for standing in standings))

    def correct(self, lease: Lease, corrections: Sequence[int]) -> None:
        """Add to what a lease of this process counts."""
        for charge, amount in zip(lease.charges, corrections, strict=True):
            window = self._windows.get(charge.key)
            if window is not None and amount:
                window.correct(lease.at_ms, amount)

    def _used(self, charge: Charge, now_ms: int) -> int:
        if not charge.limit.window_ms:
            return self._open.count(charge.key)
        window = self._windows.get(charge.key)
        if window is None:
            return 0
        window.slide(now_ms)
        return window.total

    def _refusal(self, index: int, charge: Charge, excess: int, maximum: int, now_ms: int) -> Refused:
        if charge.cost > charge.limit.maximum:
            return Refused(index, None, is_forever=True)
        # More than the share: there may be enough of it once Redis is back.
        if not charge.limit.window_ms or charge.cost > maximum:
            return Refused(index, None)
        return Refused(index, self._window(charge).wait_ms(now_ms, excess))

    def _window(self, charge: Charge) -> Window:
        window = self._windows.get(charge.key)
        if window is None:
            if len(self._windows) >= _COUNTERS_MAX:
                del self._windows[next(iter(self._windows))]
            window = self._windows[charge.key] = Window(charge.limit.step_ms)
        return window


def share_of(maximum: int, processes: int) -> int:
    """Return one process's share of a limit: never nothing of something."""
    return max(min(maximum, 1), maximum // max(1, processes))


def _severity(refused: Refused) -> tuple[bool, bool, int]:
    return refused.is_forever, refused.wait_ms is None, refused.wait_ms or 0
