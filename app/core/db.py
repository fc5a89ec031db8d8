"""PostgreSQL: one pool per process, transactions, and the one place that knows what "the database is away" means.

Never held across a call to an upstream: a connection is borrowed for one short transaction and given back.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.core.health import Dependency
from app.errors import Unavailable
from app.settings import Database as DatabaseSettings

# SQLSTATE classes and codes that mean "not now" rather than "wrong": connection exceptions, insufficient resources
# (disk full, out of memory, too many connections), operator intervention (shutdown, restarting), and lock timeouts.
_TRANSIENT_CLASSES: Final = ("08", "53", "57")
_TRANSIENT_CODES: Final = ("55P03", "40001", "40P01", "25006")


Transaction = AsyncConnection
"""A connection inside a transaction, handed by a service to its repository."""


class DatabaseUnavailable(Unavailable):
    """PostgreSQL cannot be reached, or cannot do its work right now."""


class Database:
    """A pool of connections to one PostgreSQL database."""

    def __init__(self, url: str, settings: DatabaseSettings, health: Dependency) -> None:
        self._url = url
        self._settings = settings
        self._health = health
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self.connect,
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_timeout=settings.pool_timeout_seconds,
            pool_pre_ping=True,
            pool_recycle=1_800,
        )

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Open a connection of its own, outside the pool; the caller closes it."""
        return await asyncpg.connect(
            self._url,
            timeout=self._settings.connect_timeout_seconds,
            server_settings={
                "application_name": "weir",
                "timezone": "UTC",
                "statement_timeout": _milliseconds(self._settings.statement_timeout_seconds),
                "lock_timeout": _milliseconds(self._settings.lock_timeout_seconds),
                "idle_in_transaction_session_timeout": _milliseconds(self._settings.statement_timeout_seconds),
            },
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection inside a transaction that commits when the block ends well and rolls back otherwise.

        Raises DatabaseUnavailable when PostgreSQL is away or too busy.
        """
        with self._watched():
            async with self._engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def hot_connection(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """Yield a bare asyncpg connection for the few statements of the hot path; each statement commits by itself.

        Raises DatabaseUnavailable when PostgreSQL is away or too busy.
        """
        with self._watched():
            async with self._engine.connect() as connection:
                raw = await connection.get_raw_connection()
                driver: Any = raw.driver_connection
                yield driver

    async def ping(self) -> None:
        """Run one statement; raises DatabaseUnavailable when that fails."""
        async with self.hot_connection() as connection:
            await connection.fetchval("SELECT 1")

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not _is_transient(error):
                raise
            self._health.down(_reason(error))
            raise DatabaseUnavailable("The database is not available right now; nothing was charged.") from error
        else:
            self._health.up()


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, PoolTimeout | OSError | TimeoutError | asyncpg.InterfaceError | InterfaceError):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    code = getattr(error, "sqlstate", None) or getattr(getattr(error, "orig", None), "sqlstate", None)
    if isinstance(code, str):
        return code.startswith(_TRANSIENT_CLASSES) or code in _TRANSIENT_CODES
    return isinstance(error, OperationalError | asyncpg.PostgresConnectionError)


def _reason(error: BaseException) -> str:
    """Return one line without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {str(cause).splitlines()[0][:200] if str(cause) else 'no details'}"


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1_000))
