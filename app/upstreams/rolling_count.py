"""Counts what happened in the last seconds, in buckets of one second. Pure; its memory is bounded by its window."""


class RollingCount:
    """How much was added within the last `window_seconds`; moments are in seconds and never go back."""

    def __init__(self, window_seconds: int) -> None:
        self._window_seconds = window_seconds
        self._buckets: dict[int, int] = {}
        self._total = 0

    def add(self, now: float) -> None:
        """Count one more."""
        self._slide(now)
        second = int(now)
        self._buckets[second] = self._buckets.get(second, 0) + 1
        self._total += 1

    def take_back(self, at: float) -> None:
        """Count one less of those that were added at that moment, if it still counts."""
        second = int(at)
        if second in self._buckets:
            self._buckets[second] -= 1
            self._total -= 1

    def total(self, now: float) -> int:
        """Return how many were counted in the window that ends with the second of *now*."""
        self._slide(now)
        return self._total

    def falls_below(self, amount: int, now: float) -> float:
        """Return the moment at which fewer than *amount* will count if nothing is added, *now* if it is so already."""
        left = self.total(now)
        for second, count in self._buckets.items():
            if left < amount:
                break
            left -= count
            now = float(second + self._window_seconds)
        return now

    def clear(self) -> None:
        """Forget everything."""
        self._buckets.clear()
        self._total = 0

    def _slide(self, now: float) -> None:
        oldest = int(now) - self._window_seconds + 1
        while self._buckets and (second := next(iter(self._buckets))) < oldest:
            self._total -= self._buckets.pop(second)
