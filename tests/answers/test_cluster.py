"""A Weir on a Redis Cluster: answers make room for each other there, and move with their slot."""

from pydantic import SecretStr

from tests.fixtures.redis_cluster import RedisCluster
from tests.fixtures.weir import RunningWeir, StartWeir


async def words(weir: RunningWeir, *texts: str) -> list[str]:
    async with weir.http() as client:
        answers = [
            await client.post(
                "/v1/embeddings",
                json={"model": "text-embedding-3-small", "input": text, "dimensions": 8},
                headers={"x-weir-cache": "on"},
            )
            for text in texts
        ]
    return [answer.headers["x-weir-cache"] for answer in answers]


async def test_answers_are_kept_on_a_cluster(redis_cluster: RedisCluster, start_weir: StartWeir) -> None:
    old, new = redis_cluster.holder, redis_cluster.others[0]
    url = SecretStr(redis_cluster.others[1].url)  # which has the slot neither before nor after
    changes = {"redis_url": url, "cache.redis_timeout_ms": 2_000, "cache.size_bytes_max": 1_500}
    weir = await start_weir(changes)

    assert await words(weir, "a", "b", "a", "b") == ["stored", "stored", "hit", "hit"]
    redis_cluster.begin_to_move(old, new)
    redis_cluster.finish_move(old, new)
    assert await words(weir, "a", "b") == ["hit", "hit"]
    assert await words(weir, "c", "d", "e", "f", "f", "a") == ["stored"] * 4 + ["hit", "stored"]
