"""Where a call goes when the first upstream cannot answer it, what that costs, and what its caller gets to know."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import orjson
import pytest

from app.core.clock import monotonic_seconds
from tests.fixtures.canned import CannedUpstream
from tests.fixtures.ports import NOBODY_LISTENS
from tests.fixtures.waiting import until
from tests.fixtures.weir import UPSTREAM_KEY, RunningWeir
from tests.gateway.test_budgeted import make_budget, window
from tests.gateway.test_explain import explain
from tests.limits.making import make

HELLO: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
NANO = 1_000_000_000
PLAIN_AND_STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@pytest.fixture
async def weir2(
    canned_weir: RunningWeir, canned: CannedUpstream, shared_simulator: tuple[Any, str], weir: RunningWeir
) -> AsyncIterator[RunningWeir]:
    """`canned_weir` with three attempts an upstream, and the simulator as an upstream `second` behind `openai`."""
    upstreams = canned_weir.wiring.upstreams
    calls, directory = upstreams._calls, upstreams._directory
    before = directory.upstreams
    upstreams._calls = calls._replace(attempts_max=3)
    [first] = before
    second = replace(first, name="second", base_url=shared_simulator[1], api_key=UPSTREAM_KEY, priority=1)
    directory.set((first, second))
    calls.health.keep(())
    canned.answers()
    yield replace(canned_weir, simulator=weir.simulator)
    upstreams._calls = calls
    directory.set(before)
    calls.health.keep(())


def change(weir: RunningWeir, position: int, **fields: Any) -> None:
    """Change one of the upstreams."""
    directory = weir.wiring.upstreams._directory
    upstreams = list(directory.upstreams)
    upstreams[position] = replace(upstreams[position], **fields)
    directory.set(tuple(upstreams))


def falls_back(weir: RunningWeir) -> None:
    """Have `gpt-4o` at the first upstream only, and `gpt-4o-mini` in its stead at the second."""
    upstreams = weir.wiring.upstreams
    upstreams._calls = upstreams._calls._replace(fallback_models={"gpt-4o": ("gpt-4o-mini",)})
    change(weir, 0, models=("gpt-4o",))
    change(weir, 1, models=("gpt-4o-mini",))


def only_first(weir: RunningWeir) -> None:
    directory = weir.wiring.upstreams._directory
    directory.set(directory.upstreams[:1])


async def ask(weir: RunningWeir, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
    async with weir.http() as client:
        return await client.post("/v1/chat/completions", json={**HELLO, **members}, headers=headers)


def endings(entries: Sequence[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(entry["upstream"], entry["ending"], entry["status"]) for entry in entries]


def refuses(canned: CannedUpstream, status: int, **error: Any) -> None:
    canned.answers_json(
        {"error": {"message": "No.", "type": "server_error", "param": None, "code": None, **error}}, status
    )


@PLAIN_AND_STREAMED
async def test_what_one_upstream_refuses_another_answers(
    weir2: RunningWeir, canned: CannedUpstream, stream: bool
) -> None:
    refuses(canned, 500)

    answer = await ask(weir2, stream=stream)

    assert answer.status_code == 200
    assert ", retries;dur=" in answer.headers["server-timing"]
    entries = await weir2.entries()
    assert endings(entries) == [("openai", "released", 500), ("second", "settled", 200)]
    assert len({entry["request_id"] for entry in entries}) == 1
    assert len({entry["id"] for entry in entries}) == 2
    assert len(canned.requests) == len(weir2.arrivals) == 1


async def test_an_upstream_that_is_not_there_costs_nothing_and_leaves_no_entry(weir2: RunningWeir) -> None:
    await make_budget(weir2, "1")
    change(weir2, 0, base_url=f"{NOBODY_LISTENS}/v1")

    answer = await ask(weir2)

    assert answer.status_code == 200
    [entry] = await weir2.entries()
    assert (entry["upstream"], entry["ending"]) == ("second", "settled")
    assert await window(weir2) == (entry["cost_nano"], 0)
    assert await weir2.sql("SELECT FROM reservations") == []


async def test_an_attempt_that_was_sent_and_lost_is_paid_for_beside_the_one_that_answers(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    await make_budget(
        weir2,
        "1",
    )
    canned.answers()  # takes the request and closes the connection

    answer = await ask(weir2, max_tokens=50)

    assert answer.status_code == 200
    lost, answered = await weir2.entries()
    assert (lost["upstream"], lost["ending"], lost["outcome"]) == ("openai", "estimated", "upstream_broke")
    assert (answered["upstream"], answered["ending"]) == ("second", "settled")
    assert lost["cost_nano"] > 0
    cost = Decimal(answer.headers["x-weir-cost-usd"]) * NANO
    assert cost == lost["cost_nano"] + answered["cost_nano"]
    async with weir2.http() as client:
        receipt = (await client.get(f"/v1/requests/{answer.headers['x-request-id']}")).json()
    assert receipt["upstream"] == "second"
    assert [(each["upstream"], each["outcome"]) for each in receipt["attempts"]] == [
        ("openai", "upstream_broke"),
        ("second", "completed"),
    ]
    assert Decimal(receipt["call_cost_usd"]) * NANO == cost


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_what_is_the_callers_fault_is_sent_once(weir2: RunningWeir, canned: CannedUpstream, status: int) -> None:
    refuses(canned, status, code="its_own_code")

    answer = await ask(weir2)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, "its_own_code")
    assert "x-should-retry" not in answer.headers
    assert len(canned.requests) == 1
    assert weir2.arrivals == []


async def test_an_upstream_that_fails_sees_one_call_of_an_sdk_three_times_and_no_more(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    only_first(weir2)
    refuses(canned, 500)
    async with weir2.openai(max_retries=2) as client:
        with pytest.raises(Exception, match="No") as caught:
            await client.chat.completions.create(**HELLO)

    assert len(canned.requests) == 3
    assert caught.value.response.headers["x-should-retry"] == "false"  # type: ignore[attr-defined]
    assert endings(await weir2.entries()) == [("openai", "released", 500)] * 3


@pytest.mark.parametrize(
    "says",
    [
        {"x-stainless-retry-count": "1"},
        {"x-stainless-retry-count": "9" * 5_000},
        {"user-agent": "ai/6.0 ai-sdk/openai/3.0"},
    ],
    ids=["once", "very often", "silently"],
)
async def test_a_call_that_its_sdk_repeats_is_not_repeated_here(
    weir2: RunningWeir, canned: CannedUpstream, says: dict[str, str]
) -> None:
    only_first(weir2)
    refuses(canned, 500)

    answer = await ask(weir2, headers=says)

    assert answer.status_code == 500
    assert "x-should-retry" not in answer.headers
    assert len(canned.requests) == 1


async def test_nothing_is_repeated_that_would_not_be_over_before_the_caller_gives_up(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    only_first(weir2)
    refuses(canned, 500)

    answer = await ask(weir2, headers={"x-stainless-read-timeout": "0.0"})

    assert answer.status_code == 500
    assert len(canned.requests) == 1


async def test_when_nobody_answers_the_caller_gets_the_last_error_as_it_came(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    refuses(canned, 500)
    script = "status=503;error_code=its_own_code"

    answer = await ask(weir2, headers={"x-simulator": script, "x-stainless-retry-count": "2"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "its_own_code")
    assert endings(await weir2.entries()) == [("openai", "released", 500), ("second", "released", 503)]


async def test_a_model_to_fall_back_to_is_named_priced_and_limited_as_itself(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    falls_back(weir2)
    refuses(canned, 500)
    for model, requests in (("gpt-4o", 10), ("gpt-4o-mini", 7)):
        await make(weir2, scope="organization", counts="requests", per="minute", maximum=requests, model=model)
    await weir2.wiring.limits.service.load()

    answer = await ask(weir2, model="gpt-4o")

    assert answer.status_code == 200, answer.text
    assert answer.headers["x-weir-model"] == "gpt-4o-mini"
    assert answer.headers["x-ratelimit-limit-requests"] == "7"
    assert orjson.loads(weir2.arrivals[0].body) == {**HELLO, "model": "gpt-4o-mini"}
    asked, answered = await weir2.entries()
    assert (asked["model"], answered["model"]) == ("gpt-4o", "gpt-4o-mini")
    assert answered["price_id"].startswith("gpt-4o-mini/")
    async with weir2.http() as client:
        listed = (await client.get("/v1/gateway/my/limits")).json()["data"]
    remaining = {limit["model"]: limit["remaining"] for limit in listed}
    assert remaining == {"gpt-4o": 10, "gpt-4o-mini": 6}


async def test_a_model_to_fall_back_to_is_limited_as_itself_where_it_is_the_first_that_is_ready(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    falls_back(weir2)
    weir2.wiring.upstreams._calls.health.force({("openai", "gpt-4o"): "open"}, monotonic_seconds())
    for model, requests in (("gpt-4o", 10), ("gpt-4o-mini", 1)):
        await make(weir2, scope="organization", counts="requests", per="minute", maximum=requests, model=model)
    await weir2.wiring.limits.service.load()

    answer = await ask(weir2, model="gpt-4o")
    refused = await ask(weir2, model="gpt-4o")

    weir2.wiring.upstreams._calls.health.force({}, monotonic_seconds())
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-weir-model"] == "gpt-4o-mini"
    assert answer.headers["x-ratelimit-limit-requests"] == "1"
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert canned.requests == []
    assert len(weir2.arrivals) == 1
    assert {health.in_flight for health in weir2.wiring.upstreams._calls.health.targets()} == {0}
    async with weir2.http() as client:
        listed = (await client.get("/v1/gateway/my/limits")).json()["data"]
    remaining = {limit["model"]: limit["remaining"] for limit in listed}
    assert remaining == {"gpt-4o": 10, "gpt-4o-mini": 0}


async def test_explain_names_the_upstream_of_the_lowest_priority_number(weir2: RunningWeir) -> None:
    change(weir2, 1, priority=-1)

    assert (await explain(weir2))["upstream"] == "second"

    await ask(weir2)
    [entry] = await weir2.entries()
    assert entry["upstream"] == "second"


async def test_explain_names_the_model_that_would_stand_in_now(weir2: RunningWeir) -> None:
    falls_back(weir2)
    await make(weir2, scope="organization", counts="requests", per="minute", maximum=7, model="gpt-4o-mini")
    await weir2.wiring.limits.service.load()
    weir2.wiring.upstreams._calls.health.force({("openai", "gpt-4o"): "open"}, monotonic_seconds())

    said = await explain(weir2, {**HELLO, "model": "gpt-4o"})

    weir2.wiring.upstreams._calls.health.force({}, monotonic_seconds())
    assert (said["decision"], said["upstream"], said["model"]) == ("admitted", "second", "gpt-4o-mini")
    assert said["price_id"].startswith("gpt-4o-mini/")
    assert [limit["maximum"] for limit in said["limits"]] == [7]


async def test_explain_tells_that_no_upstream_would_be_sent_the_call(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    only_first(weir2)
    weir2.wiring.upstreams._calls.health.force({("openai", "gpt-4o-mini"): "open"}, monotonic_seconds())

    said = await explain(weir2)
    answer = await ask(weir2)

    weir2.wiring.upstreams._calls.health.force({}, monotonic_seconds())
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (503, "upstream_unavailable")
    assert (said["decision"], said["reason"]) == (error["code"], error["message"])
    assert canned.requests == []


async def test_a_model_is_called_by_the_name_that_its_upstream_has_for_it(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    await make_budget(weir2, "1")
    change(weir2, 1, aliases={"fast": "gpt-4o-mini"}, models=())
    change(weir2, 0, models=())

    answer = await ask(weir2, model="fast")

    assert answer.status_code == 200, answer.text
    assert orjson.loads(weir2.arrivals[0].body)["model"] == "gpt-4o-mini"
    assert canned.requests == []
    [entry] = await weir2.entries()
    assert (entry["model"], entry["ending"]) == ("fast", "settled")
    assert entry["cost_nano"] > 0
    assert await window(weir2) == (entry["cost_nano"], 0)


async def test_a_call_is_bounded_by_the_dearer_of_both_names_of_its_model(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    change(weir2, 0, aliases={"gpt-4o-mini": "gpt-4o"}, models=())
    usage = {"prompt_tokens": 10, "completion_tokens": 100}
    canned.answers_json({"model": "gpt-4o-2024-08-06", "choices": [], "usage": usage})

    await ask(weir2, max_tokens=100)

    [entry] = await weir2.entries()
    assert 0 < entry["cost_nano"] <= entry["ceiling_nano"]
    assert entry["flags"] == []


async def test_tokens_are_counted_by_the_words_of_the_model_that_is_sent_to(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    change(weir2, 0, aliases={"gpt-4o": "a-model-with-a-token-for-each-byte"}, models=())
    only_first(weir2)
    await make_budget(weir2, "0.02")  # by a count of words it would fit

    answer = await ask(weir2, model="gpt-4o", max_tokens=10, messages=[{"role": "user", "content": " hello" * 2_000}])

    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
    assert canned.requests == []


async def test_a_caller_sees_its_own_limit_where_no_fallback_can_be_had(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    falls_back(weir2)
    await make(weir2, scope="organization", counts="requests", per="minute", maximum=10, model="gpt-4o")
    await make(weir2, scope="organization", counts="tokens", per="minute", maximum=5, model="gpt-4o-mini")
    await weir2.wiring.limits.service.load()
    head = "HTTP/1.1 500 X\r\ncontent-type: application/json\r\nx-ratelimit-limit-requests: 777\r\n"
    canned.answers(f"{head}content-length: 12\r\n\r\n".encode() + b'{"error":{}}')

    answer = await ask(weir2, model="gpt-4o", max_tokens=20)

    assert (answer.status_code, answer.headers["x-ratelimit-limit-requests"]) == (500, "10")


async def test_a_fallback_that_its_limits_refuse_takes_no_place_at_its_upstream(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    falls_back(weir2)
    change(weir2, 1, models=("gpt-4o-mini", "gpt-4.1-mini"), calls_at_once=1)
    refuses(canned, 500)
    await make(weir2, scope="organization", counts="tokens", per="minute", maximum=5, model="gpt-4o-mini")
    await weir2.wiring.limits.service.load()

    assert (await ask(weir2, model="gpt-4o", max_tokens=20)).status_code == 500

    assert {health.in_flight for health in weir2.wiring.upstreams._calls.health.targets()} == {0}
    assert (await ask(weir2, model="gpt-4.1-mini", max_tokens=20)).status_code == 200


async def test_a_call_that_its_budget_refuses_takes_nothing_of_what_its_upstream_may_be_sent(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    only_first(weir2)
    change(weir2, 0, requests_per_minute=1)
    canned.answers_json({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    await make_budget(weir2, "0", model="gpt-4o")

    refused = [(await ask(weir2, model="gpt-4o")).json()["error"]["code"] for _ in range(2)]

    assert refused == ["insufficient_quota"] * 2
    assert (await ask(weir2)).status_code == 200
    assert len([request for request in canned.requests if request.startswith(b"POST ")]) == 1  # others are probes


async def test_what_calls_wait_for_the_database_is_not_taken_for_the_silence_of_their_upstream(
    weir2: RunningWeir,
) -> None:
    change(weir2, 0, base_url=weir2.wiring.upstreams._directory.upstreams[1].base_url, api_key=UPSTREAM_KEY)
    await ask(weir2)
    locking = "DO $$ BEGIN LOCK TABLE reservations IN ACCESS EXCLUSIVE MODE; PERFORM pg_sleep(1.5); END $$"
    locked = asyncio.create_task(weir2.sql(locking))

    async def is_locked() -> bool:
        return bool(await weir2.sql("SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"))

    await until(is_locked)
    await asyncio.gather(*[ask(weir2, headers={"x-simulator": "latency_ms=250"}) for _ in range(4)])
    await locked

    assert endings(await weir2.entries()) == [("openai", "settled", 200)] * 5


async def test_a_retry_that_the_budget_has_no_room_for_is_not_made(weir2: RunningWeir, canned: CannedUpstream) -> None:
    canned.answers()  # lost after it was sent: its estimate is charged, and its ceiling not spent again
    await ask(weir2, max_tokens=20)
    ceiling_nano = (await weir2.entries())[0]["ceiling_nano"]
    weir2.simulator.account.reset()
    await make_budget(weir2, str(Decimal(ceiling_nano * 3) / 2 / NANO))

    answer = await ask(weir2, max_tokens=20)

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unreachable")
    assert (await weir2.entries())[-1]["upstream"] == "openai"
    assert [call for call in weir2.arrivals if call.method == "POST"] == []


async def test_an_answer_of_the_second_upstream_is_kept_for_its_idempotency_key(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    refuses(canned, 500)
    key = {"idempotency-key": "once"}

    first = await ask(weir2, headers=key)
    await weir2.wiring.ledger.drain()
    second = await ask(weir2, headers=key)

    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    assert second.headers["idempotent-replayed"] == "true"
    assert len(weir2.arrivals) == 1


async def test_a_call_counts_once_in_its_limits_however_often_it_was_sent(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    refuses(canned, 500)
    await make(weir2, scope="organization", counts="requests", per="minute", maximum=10)
    await weir2.wiring.limits.service.load()

    answer = await ask(weir2)

    assert answer.headers["x-ratelimit-remaining-requests"] == "9"


async def test_a_pause_that_the_upstream_asks_for_is_kept(weir2: RunningWeir, canned: CannedUpstream) -> None:
    only_first(weir2)
    body = orjson.dumps({"error": {"message": "Slow down.", "type": "requests", "param": None, "code": None}})
    head = b"HTTP/1.1 429 Said So\r\nretry-after-ms: 60\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    canned.answers(head % len(body) + body)

    answer = await ask(weir2)

    assert answer.status_code == 429
    assert answer.headers["retry-after-ms"] == "60"
    assert len(canned.requests) >= 2
    first, second = (await weir2.entries())[:2]
    assert second["settled_at"] - first["settled_at"] >= timedelta(milliseconds=60)


async def test_without_an_upstream_that_takes_calls_the_caller_is_told_when_to_come_back(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    only_first(weir2)
    change(weir2, 0, base_url=f"{NOBODY_LISTENS}/v1")
    for _ in range(3):
        await ask(weir2, headers={"x-stainless-retry-count": "1"})

    answer = await ask(weir2)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "upstream_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert await weir2.entries() == []
    assert await weir2.sql("SELECT FROM reservations") == []


async def test_calls_that_wait_at_an_upstream_that_fell_silent_are_sent_elsewhere(
    weir2: RunningWeir, canned: CannedUpstream
) -> None:
    never = asyncio.Event()
    canned.answers(never)
    try:
        answers = await asyncio.gather(*(ask(weir2) for _ in range(4)))
    finally:
        never.set()

    assert [answer.status_code for answer in answers] == [200] * 4
    assert len(weir2.arrivals) == 4
    by_upstream = [entry["upstream"] for entry in await weir2.entries() if entry["ending"] == "settled"]
    assert by_upstream == ["second"] * 4

    async def is_closed() -> bool:
        return canned.open_count == 0

    await until(is_closed)


@pytest.mark.parametrize(
    ("api_version", "path"),
    [
        (None, b"/openai/v1/chat/completions"),
        ("2024-10-21", b"/openai/deployments/my%20deployment/chat/completions?api-version=2024-10-21"),
    ],
)
async def test_azure_is_addressed_and_authenticated_in_its_own_way(
    weir2: RunningWeir, canned: CannedUpstream, api_version: str | None, path: bytes
) -> None:
    only_first(weir2)
    base_url = weir2.wiring.upstreams._directory.upstreams[0].base_url.removesuffix("/v1")
    aliases = {"gpt-4o-mini": "my deployment"}
    change(weir2, 0, provider="azure", api_version=api_version, base_url=base_url, aliases=aliases)
    canned.answers_json({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

    answer = await ask(weir2)

    assert answer.status_code == 200, answer.text
    [request] = canned.requests
    assert request.startswith(b"POST %b HTTP/1.1\r\n" % path)
    assert b"\r\napi-key: %b\r\n" % UPSTREAM_KEY.encode() in request
    assert b"authorization" not in request.lower()
    [entry] = await weir2.entries()
    assert (entry["model"], entry["ending"]) == ("gpt-4o-mini", "settled")
