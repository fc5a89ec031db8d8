"""Redis or Valkey: one pool per process with short timeouts. Losing it may loosen a limit, never lose money."""

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.core.health import Dependency
from app.setting_groups import Redis as RedisSettings


class Redis:
    """A pool of connections to one Redis."""

    def __init__(self, url: str, settings: RedisSettings, health: Dependency) -> None:
        self._health = health
        self._client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=settings.timeout_seconds,
            socket_connect_timeout=settings.timeout_seconds,
            retry=Retry(NoBackoff(), 0),
        )

    async def ping(self) -> bool:
        """Tell whether Redis answers within its timeout; the reason why not is kept in its health."""
        try:
            await self._client.ping()
        except (RedisError, OSError, TimeoutError) as error:
            self._health.down(f"{type(error).__name__}: {error}")
            return False
        self._health.up()
        return True

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
