"""PostgreSQL: one pool per process, transactions, and the one place that knows what "the database is away" means.

Never held across a call to an upstream: a connection is borrowed for one short transaction and given back.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeAlias

import asyncpg
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.core.health import Dependency
from app.core.keep_alive import keep_alive
from app.errors import Unavailable
from app.setting_groups import Database as DatabaseSettings

# SQLSTATE prefixes (https://www.postgresql.org/docs/current/errcodes-appendix.html) of "nobody answers, or we are not
# let in": connection exceptions, a wrong password, no such database, too many connections, shutdown and start.
_AWAY: Final = ("08", "28", "3D", "53300", "57P")
# And of a server that answers, but cannot do this now: resources (disk full, out of memory), its disk, a statement or a
# lock that took too long, a serialization failure or deadlock, a permission that was taken, a standby that only reads.
_ONLY_READS: Final = "25006"
_BUSY: Final = ("53", "58", "57014", "55P03", "40001", "40P01", "42501", _ONLY_READS)


HotConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
"""A bare connection, handed by a service to its repository for the statements that run for every call."""

Transaction = AsyncConnection
"""A connection inside a transaction, handed by a service to its repository."""


class DatabaseUnavailable(Unavailable):
    """PostgreSQL cannot be reached, or cannot do its work right now; `reason` is for operators, in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__("The database is not available right now; nothing was charged.")
        self.reason = reason


class _NotLetIn(ConnectionError):
    """The cause is what was said instead."""


class Database:
    """A pool of connections to one PostgreSQL database."""

    def __init__(self, url: str, settings: DatabaseSettings, health: Dependency) -> None:
        self._url = url
        self._settings = settings
        self._health = health
        # SQLAlchemy's pool costs several statements' time for each loan, so the hot path keeps connections of its own.
        self._hot: list[asyncpg.Connection[asyncpg.Record]] = []
        self._hot_places = asyncio.Semaphore(settings.hot_pool_size)
        # The server bounds statements; this bounds what a server that hangs cannot.
        self._patience_seconds = (
            settings.pool_timeout_seconds + settings.connect_timeout_seconds + settings.statement_timeout_seconds
        )
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            # A plan for any value would read all of a table for a value that is rare where most are common.
            async_creator=partial(self._connect, plan_cache_mode="force_custom_plan"),
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_timeout=settings.pool_timeout_seconds,
            pool_pre_ping=True,
            pool_recycle=1_800,
            hide_parameters=True,
        )

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Open a connection of its own, outside the pool; the caller closes it."""
        return await self._connect(plan_cache_mode="auto")

    async def _connect(self, plan_cache_mode: str) -> "asyncpg.Connection[asyncpg.Record]":
        settings = {
            "application_name": "weir",
            "timezone": "UTC",
            "plan_cache_mode": plan_cache_mode,
            "statement_timeout": _milliseconds(self._settings.statement_timeout_seconds),
            "lock_timeout": _milliseconds(self._settings.lock_timeout_seconds),
            "idle_in_transaction_session_timeout": _milliseconds(self._settings.statement_timeout_seconds),
        }
        try:
            seconds = self._settings.connect_timeout_seconds
            connection = await asyncpg.connect(self._url, timeout=seconds, server_settings=settings)
        except asyncpg.PostgresError as error:  # whatever it is, and perhaps a proxy's: nobody is let in
            raise _NotLetIn from error
        keep_alive(connection._transport.get_extra_info("socket"))  # noqa: SLF001 - it has no other door to it
        return connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection inside a transaction that commits when the block ends well and rolls back otherwise.

        Raises DatabaseUnavailable when PostgreSQL is away or too busy.
        """
        async with self._watched(self._patience_seconds), self._engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def long_transaction(self) -> AsyncIterator[AsyncConnection]:
        """Yield the same for what may take long: as long as the timeouts it sets for itself allow."""
        async with self._watched(None), self._engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def hot_connection(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """Yield a bare asyncpg connection for the few statements of the hot path; each statement commits by itself.

        Raises DatabaseUnavailable when PostgreSQL is away or too busy.
        """
        async with self._watched(self._patience_seconds), self._hot_place():
            connection = await self._take_hot()
            is_clean = False
            try:
                yield connection
                is_clean = True
            finally:
                # After an error or in the middle of a statement nobody may get it as it is.
                if is_clean and not connection.is_closed():
                    self._hot.append(connection)
                else:
                    connection.terminate()

    @asynccontextmanager
    async def _hot_place(self) -> AsyncIterator[None]:
        if self._hot_places.locked():
            await self._wait_for_hot_place()
        else:
            await self._hot_places.acquire()  # at once
        try:
            yield
        finally:
            self._hot_places.release()

    async def _wait_for_hot_place(self) -> None:
        try:
            async with asyncio.timeout(self._settings.pool_timeout_seconds):
                await self._hot_places.acquire()
        except TimeoutError:
            raise PoolTimeout(f"all {self._settings.hot_pool_size} connections for calls are in use") from None

    async def _take_hot(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Return a connection that was used before, or a new one; one that the server has closed knows so."""
        while self._hot:
            connection = self._hot.pop()
            if not connection.is_closed():
                return connection
        return await self.connect()

    async def ping(self) -> None:
        """Run one statement; raises DatabaseUnavailable when that fails."""
        async with self.hot_connection() as connection:
            await connection.fetchval("SELECT 1")

    async def close(self) -> None:
        """Close every connection."""
        for connection in self._hot:
            connection.terminate()
        self._hot.clear()
        await self._engine.dispose()

    @asynccontextmanager
    async def _watched(self, timeout_seconds: float | None) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(timeout_seconds):
                yield
        except Exception as error:
            cause = _driver_error(error)
            if _is_away(cause):
                self._health.down(_reason(cause))
            elif not _is_busy(cause):
                raise
            elif _sqlstate(cause) == _ONLY_READS:  # behind the same name, new connections may find the new primary
                await self._engine.dispose()
            raise DatabaseUnavailable(_reason(cause)) from cause
        else:
            self._health.up()


def _driver_error(error: Exception) -> BaseException:
    """Return what the driver raised, out of SQLAlchemy's wrappers, which quote the statement."""
    orig: BaseException | None = getattr(error, "orig", None)
    return error if orig is None else orig.__cause__ or orig


def _is_away(error: BaseException) -> bool:
    if isinstance(error, asyncpg.DataError):  # a value that PostgreSQL cannot hold, though asyncpg files it below
        return False
    # InternalClientError is what asyncpg says when a server that is killed has spoken its last in between.
    lost = OSError | TimeoutError | asyncpg.InterfaceError | asyncpg.InternalClientError
    return isinstance(error, lost) or _sqlstate(error).startswith(_AWAY)


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, PoolTimeout) or _sqlstate(error).startswith(_BUSY)


def _sqlstate(error: BaseException) -> str:
    return str(getattr(error, "sqlstate", None) or "")


def _reason(error: BaseException) -> str:
    """Return one line without the statement and its values."""
    if isinstance(error, _NotLetIn) and error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else 'no details'}"


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1_000)))  # PostgreSQL takes 0 for no bound at all
