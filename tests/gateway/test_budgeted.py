"""What a caller under a budget gets: caps that are really sent, refusals that say everything, exact charges."""

import asyncio
from decimal import Decimal
from typing import Any

import openai
import orjson
import pytest

from app.gateway.answer import Inbound
from app.gateway.operations.chat import ChatCompletions
from app.keys.caller import Caller
from app.observability.context import CallContext
from app.prices.service import PriceService
from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir

HELLO: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
NANO = 1_000_000_000
CHAT = ChatCompletions()


async def make_budget(weir: RunningWeir, limit_usd: str, **changes: Any) -> str:
    columns = {
        "id": "bud_test",
        "name": "Research",
        "scope": "organization",
        "period": "month",
        "time_zone": "UTC",
        "limit_nano": int(Decimal(limit_usd) * NANO),
        "mode": "enforcing",
        "version": 1,
        **changes,
    }
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    await weir.sql(f"INSERT INTO budgets ({', '.join(columns)}) VALUES ({places})", *columns.values())
    await weir.sql("UPDATE budget_versions SET version = version + 1")
    return str(columns["id"])


async def window(weir: RunningWeir) -> tuple[int, int]:
    await weir.drain()
    [row] = await weir.sql("SELECT spent_nano, reserved_nano FROM budget_windows")
    return (row[0], row[1])


async def complete(weir: RunningWeir, **call: Any) -> Any:
    """The answer of the SDK to `HELLO` with changes, with its headers."""
    async with weir.openai(max_retries=2) as client:
        return await client.chat.completions.with_raw_response.create(**{**HELLO, **call})


def sent(weir: RunningWeir) -> dict[str, Any]:
    """The body of the last call that the upstream got."""
    document: dict[str, Any] = orjson.loads(weir.arrivals[-1].body)
    return document


async def test_a_call_under_a_budget_is_charged_to_it_exactly(weir: RunningWeir) -> None:
    await make_budget(weir, "1")
    answer = await complete(weir, max_tokens=100)
    cost = int(Decimal(answer.headers["x-weir-cost-usd"]) * NANO)
    assert cost > 0
    assert await window(weir) == (cost, 0)
    [entry] = await weir.entries()
    assert cost <= entry["ceiling_nano"]


async def test_where_a_budgets_time_zone_is_not_known_its_calls_are_refused_and_say_so(
    weir: RunningWeir,
) -> None:
    other_key = await weir.wiring.keys.create("api", "another", project_id=DEFAULT_PROJECT_ID)
    await make_budget(weir, "1", id="bud_mars", time_zone="Mars/Olympus_Mons", scope="api_key", scope_id=other_key.id)

    async with weir.openai(api_key=other_key.value) as client:
        with pytest.raises(openai.InternalServerError) as refused:
            await client.chat.completions.create(**HELLO)
    async with weir.http(weir.admin_key) as client:
        managed = await client.get("/v1/gateway/budgets/bud_mars")

    assert (refused.value.status_code, refused.value.code) == (503, "time_zone_unknown")
    assert "'Research'" in refused.value.message
    assert "'Mars/Olympus_Mons'" in refused.value.message
    assert (managed.status_code, managed.json()["error"]["code"]) == (503, "time_zone_unknown")
    assert not weir.arrivals
    assert await weir.entries() == []
    assert not await weir.sql("SELECT 1 FROM reservations")
    assert (await complete(weir)).status_code == 200


async def test_a_call_that_names_no_maximum_gets_one_and_is_told(weir: RunningWeir) -> None:
    await make_budget(weir, "1")
    answer = await complete(weir)
    assert answer.headers["x-weir-max-output-tokens"] == "16384"
    assert sent(weir) == {"max_completion_tokens": 16_384, **HELLO}


class Uncappable(ChatCompletions):
    """Finds too late that it cannot cap a request."""

    def capped(self, body: bytes, output_tokens: int) -> bytes:
        raise RuntimeError("it has no end to put a maximum before")


async def test_a_call_that_cannot_be_capped_holds_nothing_and_is_not_sent(weir: RunningWeir) -> None:
    await make_budget(weir, "1")
    caller = await weir.wiring.keys.authenticate(weir.api_key)
    request = CHAT.read(orjson.dumps(HELLO), {})
    context = CallContext("req_capped", 0.0, "POST", "/v1/chat/completions")
    with pytest.raises(RuntimeError, match="no end"):
        await weir.wiring.gateway.run(caller, Uncappable(), request, Inbound([]), context)

    async def is_released() -> bool:
        return await window(weir) == (0, 0)

    await until(is_released)
    assert not weir.arrivals
    assert not await weir.sql("SELECT 1 FROM reservations")


async def test_a_stream_that_names_no_maximum_gets_one_too(weir: RunningWeir) -> None:
    await make_budget(weir, "1")
    async with weir.http() as client:
        answer = await client.post("/v1/chat/completions", json={**HELLO, "stream": True})
    assert answer.headers["x-weir-max-output-tokens"] == "16384"
    assert answer.text.rstrip().endswith("data: [DONE]")
    assert sent(weir)["max_completion_tokens"] == 16_384
    assert (await window(weir))[1] == 0


async def test_without_a_budget_the_body_goes_as_it_came(weir: RunningWeir) -> None:
    answer = await complete(weir)
    assert "x-weir-max-output-tokens" not in answer.headers
    assert sent(weir) == HELLO


async def test_an_observing_budget_changes_nothing_and_counts(weir: RunningWeir) -> None:
    await make_budget(weir, "0", mode="observing")
    await complete(weir)
    assert sent(weir) == HELLO
    assert (await window(weir))[0] > 0


async def test_where_little_is_left_the_cap_is_what_that_pays_for(weir: RunningWeir) -> None:
    # 0.60 dollars per million output tokens (1.00 in the priority tier, which the project may be set to).
    await make_budget(weir, "0.001")
    answer = await complete(weir)
    cap = int(answer.headers["x-weir-max-output-tokens"])
    assert 256 <= cap < 1_000
    assert sent(weir)["max_completion_tokens"] == cap
    [entry] = await weir.entries()
    assert entry["ceiling_nano"] <= NANO // 1_000


async def test_a_spent_budget_is_a_quota_that_the_sdk_does_not_retry(weir: RunningWeir) -> None:
    budget_id = await make_budget(weir, "0.00001")
    with pytest.raises(openai.RateLimitError) as refused:
        await complete(weir)
    assert refused.value.code == "insufficient_quota"
    assert refused.value.type == "insufficient_quota"
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert refused.value.request.headers["x-stainless-retry-count"] == "0"
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["budget"]["id"] == budget_id
    assert refused.value.body["budget"]["limit_usd"] == "0.00001"
    assert "resets at" in str(refused.value)
    assert len(weir.arrivals) == 0
    assert await weir.entries() == []


async def test_a_held_budget_says_when_to_ask_again(weir: RunningWeir, start_weir: StartWeir) -> None:
    quick = await start_weir({"budgets.reserve_wait_ms": 0})
    await make_budget(weir, "0.001")
    hanging = {**HELLO, "max_tokens": 800, "stream": True}
    async with (
        quick.http() as client,
        client.stream("POST", "/v1/chat/completions", json=hanging, headers={"x-simulator": "hang=1"}) as stream,
        quick.openai() as sdk,
    ):
        pieces = stream.aiter_raw()
        await anext(pieces)
        with pytest.raises(openai.RateLimitError) as refused:
            await sdk.chat.completions.create(**HELLO, max_tokens=800)

    assert refused.value.code == "budget_reserved"
    assert refused.value.response.headers["x-should-retry"] == "true"
    assert int(refused.value.response.headers["retry-after-ms"]) >= 50


async def test_the_exact_count_lets_in_what_the_bound_in_bytes_would_keep_out(weir: RunningWeir) -> None:
    text = "a long story about rivers " * 400
    # 10,400 bytes bound the input by more than a fifth of a cent; its 2,000 tokens cost less than a twentieth.
    await make_budget(weir, "0.001")
    await complete(weir, messages=[{"role": "user", "content": text}], max_tokens=10)
    [entry] = await weir.entries()
    assert entry["cost_nano"] <= entry["ceiling_nano"] <= NANO // 1_000


async def test_a_model_without_a_price_is_refused_under_a_budget(weir: RunningWeir) -> None:
    await make_budget(weir, "1")
    with pytest.raises(openai.BadRequestError) as refused:
        await complete(weir, model="nobody-knows-this-one")
    assert (refused.value.code, refused.value.param) == ("model_not_priced", "model")
    assert len(weir.arrivals) == 0


async def test_an_upstream_that_breaks_its_cap_is_paid_and_flagged(weir: RunningWeir) -> None:
    await make_budget(weir, "1")
    await complete(weir, max_tokens=10, extra_headers={"x-simulator": "prompt_tokens=5000000"})
    [entry] = await weir.entries()
    assert entry["cost_nano"] > entry["ceiling_nano"]
    assert "overrun" in entry["flags"]
    assert await window(weir) == (entry["cost_nano"], 0)


async def test_what_an_abandoned_call_may_have_cost_is_withheld_from_its_budget(
    weir: RunningWeir, start_weir: StartWeir
) -> None:
    await make_budget(weir, "1")
    trusting = await start_weir({"budgets.withhold_estimates": False})
    for gateway in (weir, trusting):
        gateway.api_key = weir.api_key
        async with gateway.http() as client:
            answer = await client.post(
                "/v1/chat/completions", json={**HELLO, "max_tokens": 500}, headers={"x-simulator": "cut_after=1"}
            )
        assert answer.status_code == 502
        await gateway.wiring.ledger.drain()
    withheld, trusted = await weir.entries()
    assert (withheld["ending"], withheld["flags"], trusted["flags"]) == ("estimated", ["withheld"], [])
    [row] = await weir.sql("SELECT spent_nano, withheld_nano FROM budget_windows")
    assert row["spent_nano"] == withheld["cost_nano"] + trusted["cost_nano"]
    assert row["withheld_nano"] == withheld["ceiling_nano"] - withheld["cost_nano"] > 0


async def test_an_estimate_is_never_above_what_the_call_can_cost(weir: RunningWeir) -> None:
    await make_budget(weir, "1")
    words = "antidisestablishmentarianism " * 40
    await complete(
        weir,
        messages=[{"role": "user", "content": words}],
        max_tokens=1,
        extra_headers={"x-simulator": "no_usage=1;output_tokens=400"},
    )
    [entry] = await weir.entries()
    assert entry["ending"] == "estimated"
    assert entry["cost_nano"] <= entry["ceiling_nano"]
    assert "overrun" not in entry["flags"]


async def test_an_upstream_that_refuses_gives_the_hold_back(weir: RunningWeir) -> None:
    await make_budget(weir, "1")
    with pytest.raises(openai.BadRequestError):
        await complete(weir, extra_headers={"x-simulator": "status=400"})
    assert await window(weir) == (0, 0)


async def test_a_model_whose_tokens_cannot_be_counted_is_held_to_its_bytes(weir: RunningWeir) -> None:
    await make_budget(weir, "0")
    with pytest.raises(openai.RateLimitError):
        await complete(weir, model="sim-small")


async def test_a_caller_who_leaves_while_tokens_are_counted_leaves_nothing_held(weir: RunningWeir) -> None:
    await make_budget(weir, "0.03")
    gateway = weir.wiring.gateway
    body = orjson.dumps({**HELLO, "messages": [{"role": "user", "content": "a long story about rivers " * 4_000}]})
    attempt = gateway._attempt(
        Caller("key_test", "api", "proj_default", None),
        CHAT,
        CHAT.read(body, {}),
        weir.wiring.upstreams.plan("gpt-4o-mini").targets[0],
        CallContext("req_leaving", 0.0, "POST", "/v1/chat/completions"),
    )
    leaving = asyncio.create_task(gateway._reservations.make(attempt))

    async def is_reserved() -> bool:
        return len(await weir.sql("SELECT FROM reservations")) == 1

    await until(is_reserved)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)

    async def is_released() -> bool:
        return await window(weir) == (0, 0)

    if attempt.output_tokens_cap is None:  # or it was counted before it could be cancelled
        await until(is_released)


async def test_a_call_is_charged_by_the_prices_that_it_was_reserved_by(
    weir: RunningWeir, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def set_price(usd: str) -> None:
        async with weir.http(weir.admin_key) as admin:
            rates = {"input": usd, "output": usd}
            price = {"model": "sim-dearer", "rates": rates, "output_tokens_max": 1_000}
            assert (await admin.post("/v1/gateway/prices", json=price)).status_code == 200

    async def load_late(service: PriceService) -> None:  # as another replica does
        is_committed.set()
        await is_told.wait()
        await load(service)

    load, is_committed, is_told = PriceService._load, asyncio.Event(), asyncio.Event()
    await set_price("1")
    await make_budget(weir, "0.01")
    monkeypatch.setattr(PriceService, "_load", load_late)
    raising = asyncio.create_task(set_price("1000"))
    await is_committed.wait()
    calling = asyncio.create_task(
        complete(
            weir, model="sim-dearer", max_tokens=200, extra_headers={"x-simulator": "latency_ms=300;output_tokens=200"}
        )
    )
    await weir.simulator.account.wait_for_arrivals(1)
    is_told.set()
    await raising
    await calling

    [entry] = await weir.entries()
    assert entry["output_tokens"] == 200
    assert entry["cost_nano"] <= entry["ceiling_nano"]
    assert "overrun" not in entry["flags"]
