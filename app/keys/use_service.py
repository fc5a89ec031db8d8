"""Writes down when keys were used last: in the background and many at once, never on the path of a call."""

import asyncio
from typing import Final

import structlog

from app.core.clock import Clock
from app.core.db import Database, DatabaseUnavailable
from app.keys import repository
from app.keys.service import KeyService

_log: Final = structlog.get_logger()


class KeyUseService:
    """What is not written yet when the process ends is written then, unless it is killed."""

    def __init__(self, db: Database, keys: KeyService, interval_seconds: float, clock: Clock) -> None:
        self._db = db
        self._keys = keys
        self._interval_seconds = interval_seconds
        self._clock = clock

    async def keep_written(self) -> None:
        """Write now and then, until cancelled; while the database is away, later."""
        while True:
            await asyncio.sleep(self._interval_seconds)
            await self.write()

    async def write(self) -> None:
        """Write that the keys that were used since the last time were used until now."""
        used = self._keys.take_used()
        if not used:
            return
        try:
            async with self._db.transaction() as tx:
                await repository.set_used(tx, sorted(used), self._clock())
        except DatabaseUnavailable:
            self._keys.put_back_used(used)
        except Exception as error:  # noqa: BLE001 - that a key was used is told again when it is used again
            _log.warning("key_use_not_written", reason=f"{type(error).__name__}: {error}")
