"""A cluster of real servers: the node that has the slot is found, followed when it moves, and replaced when it dies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.core.health import Dependency
from app.core.redis import Redis, RedisUnavailable, Script, _url_at
from app.limits.limit import KEY_PREFIX
from app.setting_groups import Redis as RedisSettings
from tests.fixtures.own_servers import OwnServer
from tests.fixtures.redis_cluster import SLOT, ClusterNode, RedisCluster
from tests.fixtures.waiting import until

PATIENT_SECONDS = 5.0
ADD = Script("for i = 1, #KEYS do redis.call('INCRBY', KEYS[i], ARGV[1]) end return redis.call('GET', KEYS[1])")


@asynccontextmanager
async def redis_at(node: ClusterNode) -> AsyncIterator[Redis]:
    redis = Redis(node.url, RedisSettings(timeout_seconds=1), Dependency("redis"))
    yield redis
    await redis.close()


async def add(redis: Redis, *names: str, amount: int = 1) -> int:
    return int(await redis.run(ADD, [f"{KEY_PREFIX}{name}" for name in names], [amount], PATIENT_SECONDS))


async def test_the_node_that_has_the_slot_is_found_from_any_other_and_asked_at_once_from_then_on(
    redis_cluster: RedisCluster,
) -> None:
    holder, replica = redis_cluster.holder, redis_cluster.replica
    for number, node in enumerate([holder, *redis_cluster.others, replica]):
        async with redis_at(node) as redis:
            assert await add(redis, "a") == number * 10 + 1
            assert [await add(redis, "a") for _ in range(9)] == [number * 10 + count for count in range(2, 11)]
            assert await redis.ping()

    assert [node.errors("MOVED") for node in (holder, *redis_cluster.others, replica)] == [0, 1, 1, 1]


async def test_what_is_counted_while_the_slot_moves_is_neither_lost_nor_counted_twice(
    redis_cluster: RedisCluster,
) -> None:
    old, new = redis_cluster.holder, redis_cluster.others[0]
    async with redis_at(old) as redis:
        assert await add(redis, "known") == 1
        redis_cluster.begin_to_move(old, new)

        # A key that is there already is where it was; a new one is asked for at the node that gets the slot.
        assert await add(redis, "known") == 2
        assert [await add(redis, "new") for _ in range(3)] == [1, 2, 3]
        assert new.call("CLUSTER", "COUNTKEYSINSLOT", SLOT) == 1
        assert redis._node is redis._first

        # A script that needs both must wait until they are together.
        both = asyncio.create_task(add(redis, "known", "new", amount=10))
        await until(lambda: old.errors("TRYAGAIN") > 0)
        redis_cluster.finish_move(old, new)
        assert await both == 12
        assert (await add(redis, "new"), await add(redis, "known")) == (14, 13)
        assert redis._node is not redis._first


async def test_keys_that_stay_apart_are_given_up_within_the_timeout(redis_cluster: RedisCluster) -> None:
    old, new = redis_cluster.holder, redis_cluster.others[0]
    async with redis_at(old) as redis:
        await add(redis, "known")
        redis_cluster.begin_to_move(old, new)
        with pytest.raises(RedisUnavailable, match="do not agree"):
            await add(redis, "known", "new")
        assert await add(redis, "known") == 2


async def test_a_node_that_dies_is_replaced_by_the_one_that_took_over(redis_cluster: RedisCluster) -> None:
    holder = redis_cluster.holder
    async with redis_at(holder) as redis:  # the only node that the settings name
        assert await redis.ping()
        assert await add(redis, "a") == 1
        await until(lambda: redis_cluster.replica.call("DBSIZE") == 1)
        holder.kill()
        lost = await asyncio.gather(*(add(redis, "a") for _ in range(2)), return_exceptions=True)
        assert [type(error) for error in lost] == [RedisUnavailable] * 2

        async def counts_again() -> bool:
            try:
                return await add(redis, "a") > 1
            except RedisUnavailable:
                await redis.ping()
                return False

        await until(counts_again)
        await until(redis.ping)
        assert await add(redis, "a") == 3


async def test_a_node_that_the_cluster_does_not_know_any_more_is_forgotten(redis_cluster: RedisCluster) -> None:
    gone = ("127.0.0.1", 1)
    async with redis_at(redis_cluster.holder) as redis:
        redis._other(gone)
        assert await redis.ping()
        assert gone not in redis._others
        assert len(redis._others) == 4


async def test_a_redis_that_is_no_cluster_is_asked_only_once_whether_it_is_one(own_valkey: OwnServer) -> None:
    redis = Redis(own_valkey.url, RedisSettings(), Dependency("redis"))
    assert [await redis.ping() for _ in range(3)] == [True] * 3
    commands = await redis._first.client.info("commandstats")
    assert commands["cmdstat_cluster|slots"]["calls"] == 1
    await redis.close()


def test_the_address_of_another_node_keeps_the_password_and_the_options() -> None:
    url = "rediss://me:secret@first:6379/0?ssl_cert_reqs=none"
    assert _url_at(url, ("second", 6380)) == "rediss://me:secret@second:6380/0?ssl_cert_reqs=none"
    assert _url_at("redis://first", ("::1", 6380)) == "redis://[::1]:6380"
