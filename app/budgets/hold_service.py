"""The reservations that this process knows to be open, and how soon holds come back. In memory; never an authority."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from uuid import UUID

from app.core.clock import monotonic_seconds

_AVERAGED: Final = 10
_RETRY_AFTER_MS_MIN: Final = 50
_RETRY_AFTER_MS_MAX: Final = 30_000


class Holds:
    """Begins and ends with each reservation; tells those that wait when one has ended."""

    def __init__(self) -> None:
        self._began_seconds: dict[UUID, float] = {}
        self._average_seconds = 0.0
        self._waiting: set[asyncio.Event] = set()

    @property
    def retry_after_ms(self) -> int:
        """About how long a call under way holds its reservation: by then another one has ended."""
        return max(_RETRY_AFTER_MS_MIN, min(_RETRY_AFTER_MS_MAX, int(self._average_seconds * 1_000)))

    @property
    def are_awaited(self) -> bool:
        """Whether a call waits for what another holds."""
        return bool(self._waiting)

    def begin(self, reservation_id: UUID) -> None:
        """Know of a reservation, from before it is committed."""
        self._began_seconds.setdefault(reservation_id, monotonic_seconds())

    def end(self, reservation_id: UUID) -> None:
        """Forget a reservation that is known to be gone from the database, and wake those that wait."""
        began_seconds = self._began_seconds.pop(reservation_id, None)
        if began_seconds is not None:
            held_seconds = monotonic_seconds() - began_seconds
            self._average_seconds += (held_seconds - self._average_seconds) / _AVERAGED
        for waiting in self._waiting:
            waiting.set()

    def forget(self, reservation_id: UUID) -> None:
        """Forget a reservation that was never made, so that nobody has reason to look again."""
        self._began_seconds.pop(reservation_id, None)

    def find_unknown(self, open_ids: Iterable[UUID]) -> list[UUID]:
        """Return those of *open_ids*, read from the database before this call, that were never begun or have ended."""
        return [open_id for open_id in open_ids if open_id not in self._began_seconds]

    async def wait_for_return(self, timeout_seconds: float) -> None:
        """Wait until some reservation of this process has ended, but not for longer than *timeout_seconds*."""
        returned = asyncio.Event()
        self._waiting.add(returned)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(returned.wait(), timeout_seconds)
        finally:
            self._waiting.discard(returned)
