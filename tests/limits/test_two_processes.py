"""Two Weirs on one Redis and one PostgreSQL keep one limit together, and say the truth about it."""

import asyncio
import random

import httpx
import pytest

from app.settings import Settings
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir
from tests.limits.making import BODY, make

CALLERS = 200
LIMIT = 100


@pytest.fixture
async def weirs(start_weir: StartWeir) -> list[RunningWeir]:
    patient = {"limits.redis_timeout_ms": 5_000}  # two gateways and 200 callers share this machine's two cores
    weirs = [await start_weir(patient), await start_weir(patient)]
    await weirs[0].empty()
    return weirs


async def test_exactly_the_limit_passes_of_200_callers_at_two_processes_and_the_headers_are_true(
    weirs: list[RunningWeir],
) -> None:
    await make(weirs[0], maximum=LIMIT)
    await knows_limits(weirs[1])
    limits = httpx.Limits(max_connections=CALLERS)
    async with httpx.AsyncClient(timeout=60, limits=limits, trust_env=False) as client:

        async def call(number: int) -> httpx.Response:
            weir = weirs[number % 2]
            headers = {"authorization": f"Bearer {weirs[0].api_key}"}
            return await client.post(f"{weir.base_url}/v1/chat/completions", json=BODY, headers=headers)

        numbers = list(range(CALLERS))
        random.shuffle(numbers)
        answers = await asyncio.gather(*map(call, numbers))

    passed = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert all(weir.wiring.limits.health.is_up for weir in weirs), "this machine is too slow to keep Redis in reach"
    assert (len(passed), len(refused)) == (LIMIT, CALLERS - LIMIT)
    # Each that passed saw another number remaining: nobody was told what was somebody else's.
    left = sorted(int(answer.headers["x-ratelimit-remaining-requests"]) for answer in passed)
    assert left == list(range(LIMIT))
    for answer in refused:
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        assert 0 < int(answer.headers["retry-after-ms"]) <= 60_600
    assert {answer.headers["x-ratelimit-limit-requests"] for answer in answers} == {str(LIMIT)}


async def knows_limits(weir: RunningWeir) -> None:
    """Return when *weir* has heard of the limits, by the notice alone."""

    async def sees_any() -> bool:
        async with weir.http() as client:
            return bool((await client.get("/v1/gateway/my/limits")).json()["data"])

    await until(sees_any)


async def test_a_limit_that_is_changed_at_one_process_is_kept_by_the_other(weirs: list[RunningWeir]) -> None:
    made = await make(weirs[0], maximum=100)
    await knows_limits(weirs[1])
    async with weirs[0].http(weirs[0].admin_key) as client:
        assert (await client.patch(f"/v1/gateway/limits/{made['id']}", json={"maximum": 0})).status_code == 200

    async def is_refused() -> bool:
        async with weirs[1].http() as client:
            return (await client.post("/v1/chat/completions", json=BODY)).status_code == 429

    await until(is_refused)


async def test_a_notice_that_was_lost_is_made_up_for(weirs: list[RunningWeir], settings: Settings) -> None:
    service = weirs[1].wiring.limits.service
    await weirs[1].sql(
        "INSERT INTO limits (id, name, scope, counts, per, maximum, mode, version) "
        "VALUES ('lim_quiet', 'quiet', 'organization', 'requests', 'minute', 0, 'enforcing', 1)"
    )
    service.expire("")  # as after 30 seconds
    await knows_limits(weirs[1])
