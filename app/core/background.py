"""Work that is done again and again in the background, and goes on whatever goes wrong with it once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from app.core.db import Database, DatabaseUnavailable, HotConnection

_log: Final = structlog.get_logger()
_BEGIN_AGAIN_SECONDS: Final = 1.0


async def keep_up(work: Callable[[], Awaitable[object]]) -> None:
    """Do *work*, and begin it again when it fails: it is meant to go on until it is cancelled, whatever happens."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - logged in full
            _log.exception("background_work_failed", work=getattr(work, "__qualname__", repr(work)))
        else:
            return
        await asyncio.sleep(_BEGIN_AGAIN_SECONDS)


async def keep_doing(work: Callable[[], Awaitable[object]], interval_seconds: float, *, failed: str) -> None:
    """Do *work* now and after every interval, until cancelled.

    When it fails, the event *failed* is logged, and not again before it was done well.
    """
    is_well = True
    while True:
        try:
            await work()
            is_well = True
        except Exception as error:  # noqa: BLE001 - the next time must come
            if is_well:
                _log.warning(failed, reason=f"{type(error).__name__}: {error}")
            is_well = False
        await asyncio.sleep(interval_seconds)


async def keep_purged(purge: Callable[[], Awaitable[object]], interval_seconds: float, *, failed: str) -> None:
    """Await *purge* now and after every interval, until cancelled.

    While the database is away it waits for the next time; when anything else goes wrong, the event *failed* is logged.
    """
    while True:
        try:
            await purge()
        except DatabaseUnavailable:
            pass  # `health.watch` reports the database
        except Exception as error:  # noqa: BLE001 - what is not deleted now is later
            _log.warning(failed, reason=f"{type(error).__name__}: {error}")
        await asyncio.sleep(interval_seconds)


async def delete_all(db: Database, delete: Callable[[HotConnection, int], Awaitable[int]], rows_max: int) -> int:
    """Await *delete*, which deletes so many rows at most, until no more are left; return how many there were.

    Each time is a commit of its own, so that no statement takes too long. Raises DatabaseUnavailable.
    """
    count = 0
    while True:
        async with db.hot_connection() as connection:
            deleted = await delete(connection, rows_max)
        count += deleted
        if deleted < rows_max:
            return count
