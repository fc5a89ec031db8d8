"""Answers from the cache, through a running Weir: the same bytes, no call, no cost, and a receipt that says so."""

from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from redis.asyncio import Redis

from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.weir import RunningWeir, StartWeir
from tests.limits.making import make

CACHED = {"x-weir-cache": "ttl=60"}


def embedding(**more: Any) -> dict[str, Any]:
    """Return a request for an embedding that nobody has sent before."""
    return {"model": "text-embedding-3-small", "input": f"A weir is a low dam. {uuid4()}", **more}


def chat(**more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"What is a weir? {uuid4()}"}]
    return {"model": "gpt-4o-mini", "messages": messages, "temperature": 0, "max_tokens": 20, **more}


async def ask(weir: RunningWeir, body: dict[str, Any], key: str | None = None, **headers: str) -> httpx.Response:
    path = "embeddings" if isinstance(body.get("input"), str) and "store" not in body else "chat/completions"
    path = "responses" if "store" in body and "input" in body else path
    path = "completions" if "prompt" in body else path
    given = {**CACHED, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with weir.http(key) as client:
        return await client.post(f"/v1/{path}", json=body, headers=given)


async def words(weir: RunningWeir, *asked: dict[str, Any], **headers: str) -> list[str]:
    """Return what Weir says of the cache in answer to each."""
    return [(await ask(weir, body, **headers)).headers["x-weir-cache"] for body in asked]


def made(weir: RunningWeir) -> int:
    """Return how many calls of models the upstream saw."""
    return sum(call.model is not None for call in weir.arrivals)


async def put_policy(weir: RunningWeir, **policy: Any) -> None:
    async with weir.http(weir.admin_key) as client:
        answer = await client.put(f"/v1/gateway/projects/{DEFAULT_PROJECT_ID}/cache", json=policy)
    assert answer.status_code == 200, answer.text


async def kept_in_redis(weir: RunningWeir) -> dict[bytes, bytes]:
    """Return everything in Redis that is about answers, by key."""
    assert weir.settings.redis_url is not None
    async with Redis.from_url(weir.settings.redis_url.get_secret_value()) as redis:
        return {key: (await redis.dump(key)) or b"" async for key in redis.scan_iter("*answer*")}


async def test_the_same_call_has_the_same_answer_and_is_made_once(weir: RunningWeir) -> None:
    body = embedding()
    first, second = await ask(weir, body), await ask(weir, body)

    assert [answer.headers["x-weir-cache"] for answer in (first, second)] == ["stored", "hit"]
    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    assert first.headers["content-type"] == second.headers["content-type"] == "application/json"
    assert first.headers["etag"] == second.headers["etag"] != ""
    assert "age" not in first.headers
    assert int(second.headers["age"]) in range(60)
    assert second.headers["x-weir-cost-usd"] == "0"
    assert second.headers["server-timing"].startswith("gateway;dur=")
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert made(weir) == 1


async def test_a_hit_has_a_receipt_of_its_own_and_costs_nothing(weir: RunningWeir) -> None:
    body = embedding()
    await ask(weir, body)
    hit = await ask(weir, body)

    [paid, free] = await weir.entries()
    assert (paid["outcome"], paid["cost_nano"] > 0) == ("completed", True)
    assert (free["outcome"], free["ending"], free["cost_nano"], free["ceiling_nano"]) == ("cached", "released", 0, 0)
    assert (free["status"], free["input_tokens"], free["upstream_us"], free["flags"]) == (200, 0, 0, [])
    assert free["request_id"] == hit.headers["x-request-id"]
    assert (free["project_id"], free["key_id"], free["model"]) == (paid["project_id"], paid["key_id"], body["model"])
    assert free["operation"] == "embeddings"
    async with weir.http() as client:
        receipt = (await client.get(f"/v1/requests/{free['request_id']}")).json()
        listed = (await client.get("/v1/requests", params={"outcome": "cached"})).json()["data"]
        metrics = (await client.get("/metrics")).text
    assert (receipt["upstream"], receipt["outcome"], receipt["cost_usd"]) == (None, "cached", "0")
    assert [each["attempt_id"] for each in listed] == [receipt["attempt_id"]]
    assert 'weir_calls_total{model="text-embedding-3-small",operation="embeddings",outcome="cached"}' in metrics
    assert await weir.sql("SELECT * FROM reservations") == []


async def test_hits_are_written_beside_calls_that_settle_in_the_same_group(weir: RunningWeir) -> None:
    cached = embedding()
    await ask(weir, cached)
    await weir.wiring.ledger.drain()
    async with weir._connection() as connection, connection.transaction():
        await connection.execute(
            "LOCK TABLE ledger_entries IN EXCLUSIVE MODE"
        )  # the first flush waits, the rest gather
        await ask(weir, embedding())
        await ask(weir, cached)
        await ask(weir, embedding())
        await ask(weir, cached)
        assert weir.wiring.ledger.pending == 4

    entries = await weir.entries()
    assert sorted(entry["outcome"] for entry in entries) == ["cached", "cached", "completed", "completed", "completed"]
    assert all("unreserved" not in entry["flags"] for entry in entries)
    assert await weir.sql("SELECT * FROM reservations") == []


async def test_a_hit_is_there_when_the_budget_is_spent(weir: RunningWeir) -> None:
    body = chat()
    await ask(weir, body)
    async with weir.http(weir.admin_key) as client:
        new = {"name": "spent", "scope": "organization", "period": "month", "limit_usd": "0.000001"}
        answer = await client.post("/v1/gateway/budgets", json=new)
        assert answer.status_code == 200, answer.text

    assert (await ask(weir, chat())).json()["error"]["code"] == "insufficient_quota"
    assert (await ask(weir, body)).headers["x-weir-cache"] == "hit"
    assert made(weir) == 1


async def test_a_hit_counts_as_a_request_in_limits_and_as_no_token(weir: RunningWeir) -> None:
    body = chat()
    await ask(weir, body)
    await make(weir, maximum=2)
    await make(weir, name="tokens", counts="tokens", maximum=1_000)

    first = await ask(weir, body)
    second = await ask(weir, body)
    third = await ask(weir, body)

    assert [first.headers["x-weir-cache"], second.headers["x-weir-cache"]] == ["hit", "hit"]
    assert second.headers["x-ratelimit-remaining-requests"] == "0"
    asked = 1_000 - int(first.headers["x-ratelimit-remaining-tokens"])
    assert 1_000 - int(second.headers["x-ratelimit-remaining-tokens"]) == asked > 0  # what the first asked for is back
    assert (third.status_code, third.json()["error"]["code"]) == (429, "rate_limit_exceeded")


async def test_a_project_says_it_for_all_its_calls(weir: RunningWeir) -> None:
    body = embedding()
    async with weir.http() as client:
        assert "x-weir-cache" not in (await client.post("/v1/embeddings", json=body)).headers
        await put_policy(weir, enabled=True, ttl_seconds=30)
        answers = [await client.post("/v1/embeddings", json=body) for _ in range(2)]
        assert [answer.headers["x-weir-cache"] for answer in answers] == ["stored", "hit"]
        off = await client.post("/v1/embeddings", json=body, headers={"x-weir-cache": "off"})
        assert "x-weir-cache" not in off.headers
        await put_policy(weir, enabled=False)
        for headers in ({}, CACHED):
            assert "x-weir-cache" not in (await client.post("/v1/embeddings", json=body, headers=headers)).headers
    assert made(weir) == 5


BYPASSED: list[dict[str, Any]] = [
    chat(temperature=1),
    chat(stream=True),
    chat(store=True),
    chat(web_search_options={}),
    {"model": "gpt-4o-mini", "input": "Say hello.", "store": True, "temperature": 0},
    {"model": "gpt-4o-mini", "input": "Say it.", "store": False, "temperature": 0, "tools": [{"type": "web_search"}]},
]


@pytest.mark.parametrize("body", BYPASSED)
async def test_what_may_be_another_answer_each_time_is_not_kept(weir: RunningWeir, body: dict[str, Any]) -> None:
    before = await kept_in_redis(weir)
    assert await words(weir, body, body) == ["bypass", "bypass"]
    assert made(weir) == 2
    assert (await kept_in_redis(weir)).keys() == before.keys()


async def test_chat_responses_and_completions_are_kept_when_they_say_that_they_are_the_same_each_time(
    weir: RunningWeir,
) -> None:
    response = {"model": "gpt-4o-mini", "input": f"Hello {uuid4()}", "store": False, "temperature": 0}
    completion = {"model": "gpt-3.5-turbo-instruct", "prompt": f"Hello {uuid4()}", "seed": 5, "max_tokens": 5}
    for body in (chat(), response, completion):
        assert await words(weir, body, body) == ["stored", "hit"]
    assert made(weir) == 3


async def test_a_call_with_an_idempotency_key_has_an_answer_of_its_own(weir: RunningWeir) -> None:
    body = embedding()
    assert await words(weir, body) == ["stored"]
    assert await words(weir, body, idempotency_key=f"key-{uuid4()}") == ["bypass"]
    assert made(weir) == 2


async def test_cache_control_is_heeded(weir: RunningWeir) -> None:
    body = embedding()
    assert await words(weir, body, cache_control="no-store") == ["bypass"]
    assert await words(weir, body) == ["stored"]
    assert await words(weir, body, cache_control="no-cache") == ["stored"]
    assert await words(weir, body, cache_control="max-age=0") == ["stored"]
    assert await words(weir, body, cache_control="max-age=50") == ["hit"]
    assert made(weir) == 4


async def test_an_answer_that_is_older_than_the_call_wants_is_made_anew(weir: RunningWeir) -> None:
    body = embedding()
    await ask(weir, body, x_weir_cache="ttl=300")
    assert weir.settings.redis_url is not None
    async with Redis.from_url(weir.settings.redis_url.get_secret_value()) as redis:
        [name] = [key async for key in redis.scan_iter("{weir}:answer:*") if await redis.pttl(key) > 200_000]
        await redis.pexpire(name, 200_500)
        hit = await ask(weir, body, x_weir_cache="ttl=300")
        assert (hit.headers["x-weir-cache"], hit.headers["age"]) == ("hit", "99")
        assert await words(weir, body, x_weir_cache="ttl=98") == ["stored"]
    assert made(weir) == 2


async def test_another_request_project_or_path_has_another_answer(weir: RunningWeir) -> None:
    body = embedding()
    async with weir.http(weir.admin_key) as client:
        other = (await client.post("/v1/organization/projects", json={"name": "other"})).json()["id"]
    key = (await weir.wiring.keys.create("api", "other", project_id=other)).value

    assert await words(weir, body, {**body, "user": "u"}) == ["stored", "stored"]
    assert (await ask(weir, body, key)).headers["x-weir-cache"] == "stored"
    assert (await ask(weir, body, openai_beta="new=1")).headers["x-weir-cache"] == "stored"
    async with weir.http() as client:
        answer = await client.post("/v1/embeddings?new=1", json=body, headers=CACHED)
    assert answer.headers["x-weir-cache"] == "stored"
    assert made(weir) == 5


@pytest.mark.parametrize(("script", "status"), [("status=400", 400), ("no_usage=1", 200)])
async def test_only_whole_good_answers_are_kept(weir: RunningWeir, script: str, status: int) -> None:
    body = embedding()
    for _ in range(2):
        answer = await ask(weir, body, x_simulator=script)
        assert (answer.status_code, answer.headers["x-weir-cache"]) == (status, "miss")
    assert await words(weir, body) == ["stored"]


async def test_an_answer_that_a_budget_cut_short_is_not_kept(weir: RunningWeir) -> None:
    body = chat()
    del body["max_tokens"]
    async with weir.http(weir.admin_key) as client:
        new = {"name": "wide", "scope": "organization", "period": "month", "limit_usd": "100"}
        await client.post("/v1/gateway/budgets", json=new)
    for _ in range(2):
        answer = await ask(weir, body)
        assert "x-weir-max-output-tokens" in answer.headers
        assert answer.headers["x-weir-cache"] == "miss"


async def test_an_answer_that_is_too_large_is_not_kept(start_weir: StartWeir) -> None:
    weir = await start_weir({"cache.answer_size_bytes_max": 1_024})
    body = embedding()
    assert await words(weir, body, body) == ["miss", "miss"]
    assert made(weir) == 2


async def test_redis_never_sees_a_prompt_or_an_answer(weir: RunningWeir) -> None:
    before = await kept_in_redis(weir)
    body = chat()
    answer = (await ask(weir, body)).json()
    kept = await kept_in_redis(weir)
    added = b"".join(key + value for key, value in kept.items() if before.get(key) != value)

    assert len(added) > len(orjson.dumps(answer))
    secrets = ("weir is", "gpt-4o", "What is", answer["id"], answer["choices"][0]["message"]["content"], "json")
    for secret in (*secrets, DEFAULT_PROJECT_ID):
        assert secret.encode() not in added


async def test_what_somebody_else_wrote_to_redis_is_not_believed(weir: RunningWeir) -> None:
    one, other = embedding(), embedding()
    before = await kept_in_redis(weir)
    await ask(weir, one)
    assert weir.settings.redis_url is not None
    async with Redis.from_url(weir.settings.redis_url.get_secret_value()) as redis:
        [key] = [key for key in await kept_in_redis(weir) if key not in before and b":answer:" in key]
        true: Any = await redis.get(key)
        for lie in (b"", b"\x01abcd", true[:-1] + bytes([true[-1] ^ 1]), b"{}" * 100):
            await redis.set(key, lie, ex=60)
            assert await words(weir, one, one) == ["stored", "hit"]
        before = await kept_in_redis(weir)
        await ask(weir, other)
        [another] = [key for key in await kept_in_redis(weir) if key not in before and b":answer:" in key]
        await redis.set(another, true, ex=60)  # a true answer, but to another question
    assert await words(weir, other) == ["stored"]


@pytest.mark.parametrize("value", ["ttl=0", "ttl=", "ttl=-5", "ttl=1.5", "yes", "", "ttl=1234567890", "on, on"])
async def test_a_header_that_means_nothing_is_refused(weir: RunningWeir, value: str) -> None:
    answer = await ask(weir, embedding(), x_weir_cache=value)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "x-weir-cache"
    assert made(weir) == 0


async def test_a_post_is_answered_in_full_whatever_tag_its_caller_knows(weir: RunningWeir) -> None:
    body = embedding()
    first = await ask(weir, body)
    again = await ask(weir, body, if_none_match=first.headers["etag"])
    assert (again.status_code, again.content) == (200, first.content)


async def test_the_sdk_gets_the_same_object_from_the_cache(weir: RunningWeir) -> None:
    text = f"A low dam {uuid4()}"
    async with weir.openai(default_headers=CACHED) as client:
        ask_once = client.embeddings.with_raw_response.create
        answers = [await ask_once(model="text-embedding-3-small", input=text) for _ in range(2)]
    assert [answer.headers["x-weir-cache"] for answer in answers] == ["stored", "hit"]
    assert answers[0].parse() == answers[1].parse()
    assert answers[1].parse().usage.prompt_tokens > 0
