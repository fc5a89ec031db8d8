"""A process that was not told of a limit learns of it all the same; `tests/process` has those that are told."""

from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir


async def test_a_notice_that_was_lost_is_made_up_for(weir: RunningWeir) -> None:
    await weir.sql(
        "INSERT INTO limits (id, name, scope, counts, per, maximum, mode, version) "
        "VALUES ('lim_quiet', 'quiet', 'organization', 'requests', 'minute', 0, 'enforcing', 1)"
    )
    weir.wiring.limits.service.expire("")  # as after 30 seconds

    async def sees_any() -> bool:
        async with weir.http() as client:
            return bool((await client.get("/v1/gateway/my/limits")).json()["data"])

    await until(sees_any)
