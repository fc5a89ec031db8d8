"""Answers in Redis, encrypted. They may be lost at any moment: then the upstream is asked.

While Redis is away nobody waits for it: one call in a few seconds finds out whether it is back.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from app.cache_settings import Cache as CacheSettings
from app.core.clock import monotonic_seconds
from app.core.health import Dependency
from app.core.redis import Redis, RedisUnavailable, Script

_FIND, _KEEP = (
    Script(Path(__file__).with_name("scripts").joinpath(f"{name}.lua").read_text("utf-8")) for name in ("find", "keep")
)
_PREFIX: Final = "{weir}:answer:"
_ENDS: Final = "{weir}:answers:ends"
_SIZES: Final = "{weir}:answers:sizes"
_RETRY_SECONDS: Final = 2.0


class Found(NamedTuple):
    """What was kept under a name."""

    data: bytes
    left_ms: int
    """Until it is gone."""


class AnswerStore:
    """Keeps bytes under names; *health* says whether that works."""

    def __init__(self, redis: Redis, health: Dependency, settings: CacheSettings) -> None:
        self._redis = redis
        self._health = health
        self._timeout_seconds = settings.redis_timeout_ms / 1_000
        self._size_bytes_max = settings.size_bytes_max
        self._silent_until = 0.0

    async def find(self, name: str) -> Found | None:
        """Return what is kept under *name*; None too while Redis is away."""
        found = await self._run(_FIND, [_PREFIX + name], [])
        return None if found is None or found[0] is None else Found(found[0], found[1])

    async def keep(self, name: str, data: bytes, ttl_seconds: int) -> bool:
        """Keep *data* under *name*; tells whether that was done: not while Redis is away, nor without room for it."""
        arguments: list[str | int | bytes] = [name, data, ttl_seconds * 1_000, self._size_bytes_max]
        return bool(await self._run(_KEEP, [_PREFIX + name, _ENDS, _SIZES], arguments))

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int | bytes]) -> Any:
        """Return what *script* returns, None when that is not to be had."""
        now = monotonic_seconds()
        if now < self._silent_until:
            return None
        if not self._health.is_up:
            self._silent_until = now + _RETRY_SECONDS  # for all calls but this one
        try:
            answer = await self._redis.run(script, keys, arguments, self._timeout_seconds)
        except RedisUnavailable as error:
            self._silent_until = monotonic_seconds() + _RETRY_SECONDS
            self._health.down(str(error))
            return None
        self._silent_until = 0.0
        self._health.up()
        return answer
