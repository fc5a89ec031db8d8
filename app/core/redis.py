"""Redis or Valkey: one pool per process with short timeouts. Losing it may loosen a limit, never lose money."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, Final

import redis.asyncio
from hiredis import pack_command
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from app.core.health import Dependency
from app.setting_groups import Redis as RedisSettings

_SLICES: Final = 5


class RedisUnavailable(Exception):
    """Redis did not do what it was asked for in time; the reason is for operators, in one line."""


class Script:
    """A Lua script, known to Redis by its digest once it has run there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Redis:
    """A pool of connections to one Redis."""

    def __init__(self, url: str, settings: RedisSettings, health: Dependency) -> None:
        self._health = health
        self._client = _client(url, settings.timeout_seconds)
        # Scripts are bounded by `run`: a timeout of the client's own would take a busy event loop for a slow Redis.
        self._unbounded = _client(url, None)

    async def ping(self) -> bool:
        """Tell whether Redis answers within its timeout; the reason why not is kept in its health."""
        try:
            await self._client.ping()
        except (RedisError, OSError, TimeoutError) as error:
            self._health.down(_reason(error))
            return False
        self._health.up()
        return True

    async def run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[str | int], timeout_seconds: float
    ) -> Any:
        """Return what *script* returns; raises RedisUnavailable when it did not within the timeout."""
        running = asyncio.ensure_future(self._run(script, keys, arguments))
        try:
            for _ in range(_SLICES):
                # What the event loop is late by counts as one slice, whose rest there is still time to read the answer.
                if (await asyncio.wait([running], timeout=timeout_seconds / _SLICES))[0]:
                    return running.result()
        except (RedisError, OSError) as error:
            raise RedisUnavailable(_reason(error)) from error
        finally:
            running.cancel()
        raise RedisUnavailable(f"no answer within {timeout_seconds:g} seconds")

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
        await self._unbounded.aclose()

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        # The client's own commands cost twice as much: it writes them in Python, argument by argument.
        pool = self._unbounded.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            rest: tuple[Any, ...] = (len(keys), *keys, *arguments)
            await connection.send_packed_command(pack_command(("EVALSHA", script.digest, *rest)))
            try:
                return await connection.read_response()
            except NoScriptError:  # a Redis that was started anew, or whose scripts were flushed
                await connection.send_packed_command(pack_command(("EVAL", script.text, *rest)))
                return await connection.read_response()
        finally:
            await pool.release(connection)


def _client(url: str, timeout_seconds: float | None) -> redis.asyncio.Redis:
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
    )
    return client


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
