"""How long one call may take, by the settings and by what its upstream has of its own. Pure."""

from typing import Final, NamedTuple, Self

from app.setting_groups import Upstream as UpstreamSettings
from app.upstreams.routing import Timeouts

_CONNECT_PART: Final = 0.9


class Waits(NamedTuple):
    """Lengths are in seconds, the deadline is on the event loop's clock."""

    connect_seconds: float
    first_byte_seconds: float
    between_chunks_seconds: float
    deadline: float

    @classmethod
    def of(cls, settings: UpstreamSettings, own: Timeouts, now: float, *, has_alternative: bool) -> Self:
        """Return them; a connection is waited for less while another upstream could take the call."""
        first_byte_seconds = own.first_byte_timeout_seconds or settings.first_byte_timeout_seconds
        connect_seconds = own.connect_timeout_seconds or settings.connect_timeout_seconds
        if has_alternative:
            connect_seconds = min(connect_seconds, settings.failover_connect_timeout_seconds)
        return cls(
            # It ends first, so that what was never sent is known not to have been.
            min(connect_seconds, _CONNECT_PART * first_byte_seconds),
            first_byte_seconds,
            own.between_chunks_timeout_seconds or settings.between_chunks_timeout_seconds,
            now + (own.total_timeout_seconds or settings.total_timeout_seconds),
        )

    def first_byte_at(self, now: float) -> float:
        """Return when the wait ends that begins now, for an answer."""
        return min(now + self.first_byte_seconds, self.deadline)

    def between_chunks_at(self, now: float) -> float:
        """Return when the wait ends that begins now, for the next part of an answer."""
        return min(now + self.between_chunks_seconds, self.deadline)
