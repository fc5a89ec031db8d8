"""Redis may vanish at any moment: it is noticed within its timeout, said once, and it comes back by itself."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from app.core.health import Dependency
from app.core.redis import Redis, RedisUnavailable, Script
from app.setting_groups import Redis as RedisSettings
from tests.embedded.probes import redis_call
from tests.fixtures.own_servers import OwnServer


@pytest.fixture
async def redis(own_valkey: OwnServer) -> AsyncIterator[Redis]:
    redis = Redis(own_valkey.url, RedisSettings(timeout_seconds=0.25), Dependency("redis"))
    yield redis
    await redis.close()


async def test_a_redis_that_is_killed_is_noticed_and_comes_back_without_a_restart(
    redis: Redis, own_valkey: OwnServer
) -> None:
    assert await redis.ping()

    with capture_logs() as lines:
        own_valkey.kill()
        assert not await redis.ping()
        assert not await redis.ping()
        reason = redis._health.reason
        own_valkey.start()
        assert await redis.ping()

    assert reason is not None
    assert "ConnectionError" in reason
    assert redis._health.is_up
    assert [line["event"] for line in lines] == ["dependency_lost", "dependency_back"]


async def test_a_redis_that_hangs_is_waited_for_no_longer_than_its_timeout(redis: Redis, own_valkey: OwnServer) -> None:
    assert await redis.ping()

    own_valkey.freeze()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*(redis.ping() for _ in range(4))) == [False] * 4
    assert "Timeout" in str(redis._health.reason)

    own_valkey.thaw()
    assert await redis.ping()


@pytest.mark.parametrize("turns", range(8))
async def test_a_busy_event_loop_is_not_taken_for_a_redis_that_is_away(redis: Redis, turns: int) -> None:
    pinging = asyncio.create_task(redis.ping())
    for _ in range(turns):
        await asyncio.sleep(0)
    time.sleep(0.4)  # noqa: ASYNC251 - longer than the timeout, and nothing else runs meanwhile

    assert await pinging


async def test_a_wrong_password_is_a_reason_that_does_not_tell_it(own_valkey: OwnServer) -> None:
    password = own_valkey.url.split(":")[2].split("@")[0]
    url = own_valkey.url.replace(password, "a-wrong-password")
    redis = Redis(url, RedisSettings(), Dependency("redis"))

    assert not await redis.ping()

    assert "invalid username-password pair" in str(redis._health.reason)
    assert "a-wrong-password" not in str(redis._health.reason)
    await redis.close()


async def test_the_connections_to_a_primary_that_becomes_a_replica_are_left(
    redis: Redis, own_valkey: OwnServer
) -> None:
    script = Script("return redis.call('INCR', KEYS[1])")

    async def count() -> int:
        number: int = await redis.run(script, ["{weir}:count"], [], timeout_seconds=5)
        return number

    def connections() -> set[str]:
        return {line.split()[0] for line in redis_call(own_valkey.url, "CLIENT", "LIST").splitlines()}

    assert sorted(await asyncio.gather(*(count() for _ in range(3)))) == [1, 2, 3]
    to_the_primary = connections()
    redis_call(own_valkey.url, "REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(RedisUnavailable, match="ReadOnlyError"):
        await count()
    assert len(to_the_primary & connections()) == 0  # behind its name there may be another primary by now

    redis_call(own_valkey.url, "REPLICAOF", "NO", "ONE")
    assert await count() == 4


@pytest.mark.parametrize("option", ["family=0", "socket_timeout=3s"])
def test_an_option_that_there_is_none_of_is_found_before_anybody_asks(option: str) -> None:
    with pytest.raises(ValueError, match=r"^WEIR_REDIS_URL: an option .*(family|socket_timeout)"):
        Redis(f"redis://:secret@127.0.0.1:6379/0?{option}", RedisSettings(), Dependency("redis"))
