"""A Weir on a Redis Cluster: limits are kept while the slot of their counters moves from one server to another."""

from pydantic import SecretStr

from tests.fixtures.redis_cluster import RedisCluster
from tests.fixtures.weir import RunningWeir, StartWeir
from tests.limits.making import BODY, make


async def statuses(weir: RunningWeir, count: int) -> list[int]:
    async with weir.http() as client:
        return [(await client.post("/v1/chat/completions", json=BODY)).status_code for _ in range(count)]


async def test_limits_are_kept_on_a_cluster_while_their_slot_moves(
    redis_cluster: RedisCluster, start_weir: StartWeir
) -> None:
    old, new = redis_cluster.holder, redis_cluster.others[0]
    url = SecretStr(redis_cluster.others[1].url)  # which has the slot neither before nor after
    weir = await start_weir({"redis_url": url, "limits.redis_timeout_ms": 2_000})
    await weir.empty()
    await make(weir, maximum=6)
    await make(weir, counts="concurrent", per=None, maximum=1)

    assert await statuses(weir, 2) == [200, 200]
    redis_cluster.begin_to_move(old, new)
    redis_cluster.finish_move(old, new)
    assert await statuses(weir, 2) == [200, 200]
    redis_cluster.begin_to_move(new, old)
    redis_cluster.finish_move(new, old)
    assert await statuses(weir, 4) == [200, 200, 429, 429]

    async with weir.http("") as client:
        assert (await client.get("/readyz")).json()["status"] == "ok"
