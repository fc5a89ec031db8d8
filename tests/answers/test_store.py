"""Answers in a real Valkey: bounded together, gone when their time is over, and the books of their sizes right."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis as Client

from app.answers.store import AnswerStore
from app.cache_settings import Cache
from app.core.health import Dependency
from app.core.redis import Redis, RedisUnavailable, Script
from app.setting_groups import Redis as RedisSettings
from app.settings import Settings
from tests.fixtures.own_servers import OwnServer

ENDS, SIZES, PREFIX = "{weir}:answers:ends", "{weir}:answers:sizes", "{weir}:answer:"


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Any]:
    assert settings.redis_url is not None
    async with Client.from_url(settings.redis_url.get_secret_value(), decode_responses=True) as client:
        keys = [key async for key in client.scan_iter("{weir}:answer*")]
        if keys:
            await client.delete(*keys)
        yield client


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Redis]:
    assert settings.redis_url is not None
    redis = Redis(settings.redis_url.get_secret_value(), settings.redis, Dependency("redis"))
    yield redis
    await redis.close()


def opened(redis: Redis, size_bytes_max: int = 100) -> AnswerStore:
    settings = Cache(size_bytes_max=size_bytes_max, redis_timeout_ms=10_000)
    return AnswerStore(redis, Dependency("cache"), settings)


async def check_books(client: Any) -> set[str]:
    """Return the names of the answers that are kept; each must be in the books, and the books must add up."""
    names = {key.removeprefix(PREFIX) async for key in client.scan_iter(f"{PREFIX}*")}
    sizes = {name: int(size) for name, size in (await client.hgetall(SIZES)).items()}
    total = sizes.pop("total", 0)
    assert set(await client.zrange(ENDS, 0, -1)) == sizes.keys() >= names
    assert total == sum(sizes.values())
    for name in names:
        assert await client.strlen(PREFIX + name) == sizes[name]
    return names


async def test_what_is_kept_is_found_for_as_long_as_it_is_kept(redis: Redis, client: Any) -> None:
    store = opened(redis)
    assert await store.find("a") is None
    assert await store.keep("a", b"\x00\xff", 60)
    found = await store.find("a")
    assert found is not None
    assert found.data == b"\x00\xff"
    assert 0 < found.left_ms <= 60_000
    assert await check_books(client) == {"a"}
    for key in (ENDS, SIZES):
        assert 0 < await client.pttl(key) <= 60_000


async def test_a_later_answer_takes_the_place_of_an_earlier_one(redis: Redis, client: Any) -> None:
    store = opened(redis)
    await store.keep("a", b"1" * 80, 60)
    assert await store.keep("a", b"2" * 90, 600)
    found = await store.find("a")
    assert found is not None
    assert found.data == b"2" * 90
    assert await check_books(client) == {"a"}
    assert await client.pttl(SIZES) > 60_000
    await store.keep("b", b"3", 5)
    assert await client.pttl(ENDS) > 60_000  # the books outlive every answer


async def test_for_a_new_answer_those_go_that_end_soonest(redis: Redis, client: Any) -> None:
    store = opened(redis)
    for name, ttl_seconds in (("b", 500), ("a", 100), ("d", 900), ("c", 700)):
        await store.keep(name, b"x" * 25, ttl_seconds)
    assert await check_books(client) == {"a", "b", "c", "d"}
    assert await store.keep("e", b"x" * 26, 10)
    assert await check_books(client) == {"c", "d", "e"}


async def test_what_there_is_no_room_for_at_all_makes_no_room(redis: Redis, client: Any) -> None:
    store = opened(redis)
    await store.keep("a", b"x" * 100, 60)
    assert not await store.keep("b", b"x" * 101, 60)
    assert await check_books(client) == {"a"}
    assert not await opened(redis, 0).keep("b", b"x", 60)
    assert not await store.keep("a", b"x" * 101, 60)  # and what was there under its name is no more
    assert await check_books(client) == set()


async def test_what_has_ended_leaves_the_books_and_makes_room(redis: Redis, client: Any) -> None:
    store = opened(redis)
    await store.keep("a", b"x" * 50, 60)
    await store.keep("b", b"x" * 50, 60)
    await client.delete(PREFIX + "a")  # as at its end
    await client.zadd(ENDS, {"a": 1})
    assert await check_books(client) == {"b"}
    assert await store.keep("c", b"x" * 50, 60)
    assert await check_books(client) == {"b", "c"}
    assert await client.zcard(ENDS) == 2


async def test_books_that_were_lost_are_begun_anew(redis: Redis, client: Any) -> None:
    store = opened(redis)
    await store.keep("a", b"x" * 50, 60)
    await client.delete(SIZES)
    assert await store.keep("b", b"x" * 60, 60)
    assert await store.keep("c", b"x" * 60, 60)
    assert await store.find("b") is None
    assert int(await client.hget(SIZES, "total")) == 60


async def test_answers_make_room_in_a_redis_that_is_full_so_that_limits_go_on(own_valkey: OwnServer) -> None:
    redis = Redis(own_valkey.url, RedisSettings(), Dependency("redis"))
    client: Any = Client.from_url(own_valkey.url, decode_responses=True)
    store = opened(redis, size_bytes_max=10**9)
    count = Script("return redis.call('INCR', KEYS[1])")
    for index in range(64):
        assert await store.keep(f"{index:02}", b"x" * 100_000, 60 + index)
    await client.config_set("maxmemory", (await client.info("memory"))["used_memory"])
    with pytest.raises(RedisUnavailable, match="OutOfMemory"):
        await redis.run(count, ["{weir}:limit"], [], timeout_seconds=5)

    assert not await store.keep("more", b"x" * 100_000, 60)

    assert await redis.run(count, ["{weir}:limit"], [], timeout_seconds=5) == 1
    kept = await check_books(client)
    assert kept == {f"{index:02}" for index in range(11, 64)}  # a mebibyte of those that would have ended soonest
    await redis.close()
    await client.aclose()
