"""What a process keeps in memory of the database, and how it stays true: replaced as a whole when others change it."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Final

from app.core.db import DatabaseUnavailable

REFRESH_SECONDS: Final = 30.0
"""After which it is read again although nobody has said that it changed: a notice may have been lost."""


class Snapshot(ABC):
    """A part of the database in memory, which the hot path reads without waiting for anything."""

    def __init__(self) -> None:
        self._expired = asyncio.Event()
        self._loading = asyncio.Lock()

    @abstractmethod
    async def _load(self) -> None:
        """Replace what is in memory by what the database has."""

    async def load(self) -> None:
        """Replace what is in memory by what the database has, one reading at a time; raises DatabaseUnavailable."""
        async with self._loading:  # or an older reading might replace a newer one
            await self._load()

    def expire(self, _: str) -> None:
        """Have `keep_fresh` load it anew, now: a listener for the channel on which its changes are told."""
        self._expired.set()

    async def keep_fresh(self) -> None:
        """Load it whenever it expired, and now and then in case nobody was told, until cancelled.

        While the database is away, what is in memory goes on being used.
        """
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._expired.wait(), REFRESH_SECONDS)
            self._expired.clear()
            try:
                await self._refresh()
            except Exception:
                self._expired.set()  # for when this is begun again
                raise

    async def _refresh(self) -> None:
        """Load it, unless the database is away. Where loading can fail otherwise, a subclass says what then."""
        with suppress(DatabaseUnavailable):  # `health.watch` reports the database
            await self.load()
