"""A database that tells what calls ask of it, and can be interrupted after what it has read."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from app.core.db import Database
from app.core.health import Dependency
from app.settings import Settings


class WatchedDatabase(Database):
    """Keeps the statements about keys of its hot connections, in order."""

    def __init__(self, settings: Settings) -> None:
        assert settings.database_url is not None
        super().__init__(settings.database_url.get_secret_value(), settings.database, Dependency("database"))
        self.statements: list[str] = []
        self.interruption: Callable[[], Awaitable[None]] | None = None
        """Awaited once, after what a hot connection has read, and before its reader hears of it."""

    async def connect(self) -> Any:
        connection = await super().connect()
        connection.add_query_logger(self._note)
        return connection

    @asynccontextmanager
    async def hot_connection(self) -> AsyncIterator[Any]:
        async with super().hot_connection() as connection:
            yield connection
        await asyncio.sleep(0)  # the driver tells of a statement in the loop's next turn
        if self.interruption is not None:
            interruption, self.interruption = self.interruption, None
            await interruption()

    def _note(self, record: "asyncpg.connection.LoggedQuery") -> None:
        if "api_keys" in record.query:  # and not one of the driver's own
            self.statements.append(record.query)
