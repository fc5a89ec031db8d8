"""What explain says is what the call then gets, and saying it costs and holds nothing."""

from decimal import Decimal
from typing import Any

from tests.fixtures.weir import RunningWeir
from tests.gateway.test_budgeted import HELLO, NANO, complete, make_budget


async def explain(weir: RunningWeir, body: dict[str, Any] = HELLO, key: str | None = None) -> dict[str, Any]:
    async with weir.http(key) as client:
        answer = await client.post("/v1/gateway/explain", json=body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def test_a_call_without_a_budget_is_explained_by_its_ceiling(weir: RunningWeir) -> None:
    said = await explain(weir)
    assert (said["decision"], said["upstream"], said["budgets"]) == ("admitted", "openai", [])
    assert said["max_output_tokens"] is None
    await complete(weir)
    [entry] = await weir.entries()
    assert entry["ceiling_nano"] == Decimal(said["ceiling_usd"]) * NANO


async def test_explaining_sends_nothing_holds_nothing_and_writes_nothing(weir: RunningWeir) -> None:
    await make_budget(weir, "1")
    await explain(weir)
    assert len(weir.arrivals) == 0
    assert await weir.entries() == []
    assert [tuple(row) for row in await weir.sql("SELECT spent_nano, reserved_nano FROM budget_windows")] == [(0, 0)]
    assert await weir.sql("SELECT FROM reservations") == []


async def test_a_call_under_a_budget_is_explained_by_what_would_be_held_and_capped(weir: RunningWeir) -> None:
    budget_id = await make_budget(weir, "0.001")
    said = await explain(weir)
    [budget] = said["budgets"]
    assert (budget["id"], budget["limit_usd"], budget["remaining_usd"]) == (budget_id, "0.001", "0.001")
    assert said["held_usd"] == "0.001"
    answer = await complete(weir)
    assert answer.headers["x-weir-max-output-tokens"] == str(said["max_output_tokens"])


async def test_a_refusal_is_explained_as_the_call_would_be_refused(weir: RunningWeir) -> None:
    await make_budget(weir, "0")
    said = await explain(weir)
    assert said["decision"] == "insufficient_quota"
    assert said["held_usd"] is None
    assert "Research" in said["reason"]


async def test_a_model_without_a_price_is_explained(weir: RunningWeir) -> None:
    await make_budget(weir, "1")
    said = await explain(weir, {**HELLO, "model": "nobody-knows-this-one"})
    assert (said["decision"], said["price_id"]) == ("model_not_priced", None)


async def test_where_bytes_do_not_fit_the_tokens_are_counted(weir: RunningWeir) -> None:
    await make_budget(weir, "0.001")
    text = "a long story about rivers " * 400
    said = await explain(weir, {**HELLO, "messages": [{"role": "user", "content": text}], "max_tokens": 10})
    assert (said["decision"], said["is_counted_exactly"]) == ("admitted", True)


async def test_a_request_that_is_not_valid_is_refused_as_the_call_would_be(weir: RunningWeir) -> None:
    async with weir.http() as client:
        answer = await client.post("/v1/gateway/explain", json={"model": "gpt-4o-mini"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages"


async def test_an_admin_key_has_no_calls_to_explain(weir: RunningWeir) -> None:
    async with weir.http(weir.admin_key) as client:
        answer = await client.post("/v1/gateway/explain", json=HELLO)
    assert answer.status_code == 403
