"""Limits as callers meet them: what passes, what the headers say, what a refusal says, and what counts nowhere."""

import asyncio
import contextlib
from typing import Any

import httpx
import openai
import pytest

from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir
from tests.limits.making import BODY, make


async def ask(weir: RunningWeir, key: str | None = None, script: str = "", **changes: Any) -> httpx.Response:
    async with weir.http(key) as client:
        headers = {"x-simulator": script} if script else {}
        return await client.post("/v1/chat/completions", json={**BODY, **changes}, headers=headers)


def remaining(answer: httpx.Response, kind: str = "requests") -> int:
    return int(answer.headers[f"x-ratelimit-remaining-{kind}"])


async def key_of(weir: RunningWeir, **owner: Any) -> str:
    minted = await weir.wiring.keys.create("api", "another key", project_id=DEFAULT_PROJECT_ID, **owner)
    return minted.value


async def own_limits(weir: RunningWeir) -> dict[str, int]:
    """What remains of each of the caller's limits, by name."""
    async with weir.http() as client:
        answer = await client.get("/v1/gateway/my/limits")
    return {limit["name"]: limit["remaining"] for limit in answer.json()["data"]}


async def test_a_call_over_the_limit_is_refused_as_openai_refuses_it(weir: RunningWeir) -> None:
    made = await make(weir, name="Everybody", maximum=2)
    async with weir.openai() as client:
        for left in ("1", "0"):
            raw = await client.chat.completions.with_raw_response.create(**BODY)  # type: ignore[call-overload]
            assert raw.headers["x-ratelimit-limit-requests"] == "2"
            assert raw.headers["x-ratelimit-remaining-requests"] == left
            assert raw.headers["x-ratelimit-reset-requests"].startswith("1m0")
            assert "x-ratelimit-limit-tokens" not in raw.headers
        with pytest.raises(openai.RateLimitError) as refused:
            await client.chat.completions.create(**BODY)  # type: ignore[call-overload]
    error, headers = refused.value, refused.value.response.headers
    assert (error.code, error.type, error.param) == ("rate_limit_exceeded", "requests", None)
    assert "'Everybody' of the organization" in error.message
    assert made["id"] in error.message
    assert 0 < int(headers["retry-after-ms"]) <= 60_600
    assert int(headers["retry-after"]) == -(-int(headers["retry-after-ms"]) // 1_000)
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert "x-should-retry" not in headers
    assert len(await weir.entries()) == 2


async def test_a_caller_without_limits_sees_those_of_the_upstream(weir: RunningWeir) -> None:
    await make(weir, scope="api_key", scope_id=None, model="another-model", maximum=0)
    await make(weir, scope="user", maximum=0)
    await make(weir, scope="service_account", maximum=0)

    answer = await ask(weir)

    assert answer.status_code == 200
    assert answer.headers["x-ratelimit-limit-requests"] == "10000"


async def test_streams_show_the_callers_limits_and_not_the_upstreams(weir: RunningWeir) -> None:
    await make(weir, maximum=10)
    await make(weir, counts="tokens", maximum=5_000)

    answer = await ask(weir, stream=True)

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert remaining(answer) == 9
    assert answer.headers["x-ratelimit-limit-tokens"] == "5000"
    assert len(answer.headers.get_list("x-ratelimit-limit-tokens")) == 1


async def test_headers_are_of_the_tightest_limit_that_enforces(weir: RunningWeir) -> None:
    await make(weir, maximum=100)
    await make(weir, maximum=7, per="day", scope="project", scope_id=DEFAULT_PROJECT_ID)
    await make(weir, maximum=5, mode="shadow")

    answer = await ask(weir)

    assert answer.headers["x-ratelimit-limit-requests"] == "7"
    assert remaining(answer) == 6
    assert answer.headers["x-ratelimit-reset-requests"].startswith("24h")


async def test_a_call_that_one_limit_refuses_counts_in_no_other(weir: RunningWeir) -> None:
    await make(weir, name="wide", maximum=10)
    await make(weir, name="narrow", maximum=1, per="hour")
    statuses = [(await ask(weir)).status_code for _ in range(4)]

    assert statuses == [200, 429, 429, 429]
    assert await own_limits(weir) == {"wide": 9, "narrow": 0}


async def test_each_user_key_and_account_has_a_counter_of_its_own(weir: RunningWeir) -> None:
    await make(weir, scope="api_key", maximum=1)
    other = await key_of(weir)

    statuses = [(await ask(weir, key)).status_code for key in (None, other, None, other)]

    assert statuses == [200, 200, 429, 429]


async def test_a_limit_for_one_takes_the_place_of_the_limit_for_each(weir: RunningWeir) -> None:
    await make(weir, scope="project", maximum=1)
    await make(weir, scope="project", scope_id=DEFAULT_PROJECT_ID, maximum=2)

    statuses = [(await ask(weir)).status_code for _ in range(3)]

    assert statuses == [200, 200, 429]


async def test_a_pattern_of_models_has_one_counter_and_leaves_other_models_alone(weir: RunningWeir) -> None:
    await make(weir, model="gpt-4o*", maximum=1)

    statuses = [(await ask(weir, model=model)).status_code for model in ("gpt-4o", "gpt-4o-mini", "gpt-5")]

    assert statuses == [200, 429, 200]


async def test_tokens_are_taken_by_estimate_and_put_right_when_the_call_has_ended(weir: RunningWeir) -> None:
    await make(weir, name="tokens", counts="tokens", maximum=10_000)
    await make(weir, name="input", counts="input_tokens", maximum=10_000)
    await make(weir, name="output", counts="output_tokens", maximum=10_000)

    answer = await ask(weir, script="output_tokens=15", max_tokens=4_000)

    usage = answer.json()["usage"]
    assert usage["completion_tokens"] == 15
    assert remaining(answer, "tokens") < 6_000
    left = {
        "tokens": 10_000 - usage["total_tokens"],
        "input": 10_000 - usage["prompt_tokens"],
        "output": 10_000 - usage["completion_tokens"],
    }

    async def is_right() -> bool:
        return await own_limits(weir) == left

    await until(is_right)


@pytest.mark.parametrize("script", ["status=400", "status=500", "malformed=html", "cut_after=2"])
async def test_a_call_that_fails_gives_its_tokens_back_but_was_a_request(weir: RunningWeir, script: str) -> None:
    await make(weir, name="requests", maximum=10)
    await make(weir, name="tokens", counts="output_tokens", maximum=10_000)

    with contextlib.suppress(httpx.RemoteProtocolError):
        await ask(weir, script=script, max_tokens=4_000, stream=script == "cut_after=2")

    async def is_given_back() -> bool:
        left = await own_limits(weir)
        return left["requests"] == 9 and left["tokens"] > 9_900

    await until(is_given_back)


async def test_a_call_that_its_budget_refuses_counts_in_no_limit(weir: RunningWeir) -> None:
    await make(weir, name="requests")
    await make(weir, name="at once", counts="concurrent", per=None)
    async with weir.http(weir.admin_key) as client:
        budget = {"name": "none", "scope": "organization", "period": "day", "limit_usd": "0"}
        assert (await client.post("/v1/gateway/budgets", json=budget)).status_code == 200

    answer = await ask(weir)

    assert answer.json()["error"]["code"] == "insufficient_quota"

    async def is_untouched() -> bool:
        return await own_limits(weir) == {"requests": 3, "at once": 3}

    await until(is_untouched)


async def test_a_call_that_asks_for_more_than_there_ever_is_is_told_not_to_come_back(weir: RunningWeir) -> None:
    await make(weir, counts="tokens", maximum=100)

    answer = await ask(weir, max_tokens=101)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (429, "rate_limit_exceeded", "tokens")
    assert error["message"].startswith("Request too large")
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers


async def test_a_call_that_names_no_maximum_is_not_too_large_by_a_guess(weir: RunningWeir) -> None:
    await make(weir, counts="tokens", maximum=100)
    body = {name: value for name, value in BODY.items() if name != "max_tokens"}

    async with weir.http() as client:
        answer = await client.post("/v1/chat/completions", json=body, headers={"x-simulator": "output_tokens=5"})

    assert answer.status_code == 200
    assert remaining(answer, "tokens") == 0


async def test_calls_at_once_are_limited_and_a_call_that_ends_makes_room(weir: RunningWeir) -> None:
    await make(weir, name="at once", counts="concurrent", per=None, maximum=2)
    open_calls = [asyncio.create_task(ask(weir, script="latency_ms=60000", stream=True)) for _ in range(2)]

    async def is_full() -> bool:
        return await own_limits(weir) == {"at once": 0}

    try:
        await until(is_full)
        refused = await ask(weir)
        assert refused.status_code == 429
        assert "concurrent calls" in refused.json()["error"]["message"]
        assert "retry-after" not in refused.headers  # nobody knows when another call ends
        assert "x-should-retry" not in refused.headers
    finally:
        for call in open_calls:
            call.cancel()  # the client leaves
        await asyncio.gather(*open_calls, return_exceptions=True)

    async def is_admitted() -> bool:
        return (await ask(weir)).status_code == 200

    await until(is_admitted)


async def test_a_shadow_limit_refuses_nothing_and_says_what_it_would_have_refused(weir: RunningWeir) -> None:
    await make(weir, name="shadow", mode="shadow", maximum=1)
    before = await refusals(weir, "shadow")

    answers = [await ask(weir) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert "x-ratelimit-remaining-requests" not in answers[0].headers
    assert await refusals(weir, "shadow") == before + 2
    assert await own_limits(weir) == {"shadow": 0}


async def refusals(weir: RunningWeir, mode: str) -> float:
    async with weir.http("") as client:
        lines = (await client.get("/metrics")).text.splitlines()
    name = f'weir_limit_refusals_total{{counts="requests",mode="{mode}"}}'
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)


async def test_refusals_are_counted(weir: RunningWeir) -> None:
    await make(weir, maximum=0)
    before = await refusals(weir, "enforcing")
    assert (await ask(weir)).status_code == 429
    assert await refusals(weir, "enforcing") == before + 1


async def test_a_replayed_answer_counts_nothing_and_shows_no_limits(weir: RunningWeir) -> None:
    await make(weir, name="requests")
    async with weir.http() as client:
        headers = {"idempotency-key": "the same call"}
        first = await client.post("/v1/chat/completions", json=BODY, headers=headers)
        await weir.wiring.ledger.drain()
        again = await client.post("/v1/chat/completions", json=BODY, headers=headers)

    assert (first.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert not [name for name in again.headers if name.startswith("x-ratelimit-")]
    assert await own_limits(weir) == {"requests": 2}


async def test_defaults_of_the_settings_hold_until_a_project_has_a_limit_of_its_own(start_weir: StartWeir) -> None:
    weir = await start_weir({"limits.project_requests_per_day": 0, "limits.project_concurrent": 5})
    await weir.empty()
    await weir.wiring.limits.service.load()
    refused = await ask(weir)
    assert refused.status_code == 429
    assert "default" in refused.json()["error"]["message"]
    await make(weir, scope="project", scope_id=DEFAULT_PROJECT_ID, per="day", maximum=1)
    assert (await ask(weir)).status_code == 200
    await weir.empty()


async def test_calls_that_are_not_authenticated_are_limited_by_their_address(weir: RunningWeir) -> None:
    await make(weir, scope="address", maximum=2)

    answers = [await ask(weir, key) for key in ("", "a-wrong-key", "", "another-wrong-key")]

    assert [answer.status_code for answer in answers] == [401, 401, 429, 429]
    error = answers[2].json()["error"]
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "requests")
    assert int(answers[2].headers["retry-after-ms"]) > 0
    assert (await ask(weir)).status_code == 200  # whoever has a key may come from the same address


async def test_a_client_of_ipv6_does_not_get_around_a_limit_by_another_of_its_addresses(start_weir: StartWeir) -> None:
    weir = await start_weir({"server.trusted_proxies": ("127.0.0.0/8",)})
    await make(weir, scope="address", maximum=2)
    await make(weir, scope="address", scope_id="203.0.113.9", maximum=1)

    async def status(address: str) -> int:
        async with weir.http("") as client:
            return (await client.get("/v1/models", headers={"x-forwarded-for": address})).status_code

    assert [await status(f"2001:db8::{end}") for end in ("1", "2", "3")] == [401, 401, 429]
    assert await status("2001:db8:0:1::1") == 401
    assert [await status(address) for address in ("203.0.113.9", "::ffff:203.0.113.9")] == [401, 429]


async def test_explain_shows_the_limits_of_a_call_and_says_that_one_refuses_it(weir: RunningWeir) -> None:
    await make(weir, name="requests", maximum=1)
    await make(weir, name="tokens", counts="tokens", maximum=1_000)

    async with weir.http() as client:
        before = (await client.post("/v1/gateway/explain", json=BODY)).json()
        assert (await ask(weir)).status_code == 200
        after = (await client.post("/v1/gateway/explain", json=BODY)).json()

    assert before["decision"] == "admitted"
    assert [limit["remaining"] for limit in before["limits"]] == [1, 1_000]
    requested = {limit["name"]: limit["requested"] for limit in before["limits"]}
    assert requested["requests"] == 1
    assert 20 < requested["tokens"] < 50
    assert after["decision"] == "rate_limit_exceeded"
    assert "'requests'" in after["reason"]


async def test_an_admin_key_has_only_the_limits_of_the_organization(weir: RunningWeir) -> None:
    await make(weir, name="all")
    await make(weir, name="each project", scope="project")
    async with weir.http(weir.admin_key) as client:
        answer = await client.get("/v1/gateway/my/limits")
    assert [limit["name"] for limit in answer.json()["data"]] == ["all"]


async def test_a_call_that_could_not_be_sent_gives_its_tokens_back(start_weir: StartWeir) -> None:
    weir = await start_weir({"openai_base_url": "http://127.0.0.1:1/v1"})
    await weir.empty()
    await make(weir, name="requests", maximum=10)
    await make(weir, name="tokens", counts="tokens", maximum=10_000)
    await make(weir, name="at once", counts="concurrent", per=None)

    assert (await ask(weir, max_tokens=4_000)).status_code == 502

    async def is_given_back() -> bool:
        return await own_limits(weir) == {"requests": 9, "tokens": 10_000, "at once": 3}

    await until(is_given_back)
    await weir.empty()
