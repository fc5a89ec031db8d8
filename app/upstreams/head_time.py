"""How long it usually takes until the head of an answer is here. Pure."""


class HeadTime:
    """The smoothed time and how far it varies, as TCP knows its round trips (RFC 6298, section 2)."""

    def __init__(self) -> None:
        self.mean_seconds: float | None = None
        """None as long as nothing was answered."""
        self._deviation_seconds = 0.0

    def add(self, seconds: float) -> None:
        """Learn from one answer."""
        if self.mean_seconds is None:
            self.mean_seconds, self._deviation_seconds = seconds, seconds / 2
            return
        self._deviation_seconds += (abs(seconds - self.mean_seconds) - self._deviation_seconds) / 4
        self.mean_seconds += (seconds - self.mean_seconds) / 8

    def long_seconds(self) -> float | None:
        """Return what hardly any answer takes longer than, None as long as nothing was answered."""
        return None if self.mean_seconds is None else self.mean_seconds + 4 * self._deviation_seconds
