"""The price book over HTTP: what operators add counts from its moment on, everywhere, and changes nothing before it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from httpx import AsyncClient, Response

from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir

PRICES = "/v1/gateway/prices"
OWN = {"model": "test-a", "rates": {"input": "1", "output": "2"}}
HELLO: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Hello."}],
    "max_tokens": 5,
    "service_tier": "default",
}


@pytest.fixture
async def admin(weir: RunningWeir) -> AsyncIterator[AsyncClient]:
    async with weir.http(weir.admin_key) as client:
        yield client
    await weir.sql("DELETE FROM prices WHERE source = 'operator' OR model LIKE 'test-%'")
    await weir.wiring.price_admin._prices.load()


async def add(admin: AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await admin.post(PRICES, json={**OWN, **fields})
    assert answer.status_code == 200, answer.text
    added: dict[str, Any] = answer.json()
    return added


async def receipt(weir: RunningWeir, model: str) -> dict[str, Any]:
    """Make a call and return its receipt."""
    async with weir.http() as client:
        answer = await client.post("/v1/chat/completions", json={**HELLO, "model": model})
        assert answer.status_code == 200, answer.text
        got = await client.get(f"/v1/requests/{answer.headers['x-request-id']}")
    found: dict[str, Any] = got.json()
    return found


async def listed(admin: AsyncClient, **query: Any) -> list[str]:
    answer = await admin.get(PRICES, params=query)
    assert answer.status_code == 200, answer.text
    return [price["id"] for price in answer.json()["data"]]


async def test_a_price_is_shown_as_it_was_added(admin: AsyncClient) -> None:
    before = datetime.now(UTC)
    added = await add(admin, per_unit_usd={"web_searches": "0.01"}, per_request_usd="0.005", output_tokens_max=4096)

    assert added["object"] == "gateway.price"
    assert added["model"] == "test-a"
    assert added["service_tier"] == "default"
    assert before <= datetime.fromisoformat(added["valid_from"]) <= datetime.now(UTC)
    assert added["rates"] == {"input": "1", "output": "2"}
    assert added["per_unit_usd"] == {"web_searches": "0.01"}
    assert (added["per_request_usd"], added["output_tokens_max"]) == ("0.005", 4096)
    assert (added["source"], added["context_tokens_max"], added["long_context"]) == ("operator", None, None)
    assert before.timestamp() - 1 <= added["created_at"] <= datetime.now(UTC).timestamp()
    for written in (added["id"], quote(added["id"], safe="")):
        assert (await admin.get(f"{PRICES}/{written}")).json() == added


async def test_the_next_call_costs_by_a_new_price_and_earlier_receipts_stay(
    weir: RunningWeir, admin: AsyncClient
) -> None:
    earlier = await receipt(weir, "gpt-4o-mini")
    added = await add(admin, model="gpt-4o-mini", rates={"input": "1000", "output": "2000"})
    later = await receipt(weir, "gpt-4o-mini")

    assert earlier["price_id"].startswith("gpt-4o-mini/default/2020")
    assert later["price_id"] == added["id"]
    [_, entry] = await weir.entries()
    assert entry["cost_nano"] == entry["input_tokens"] * 1_000_000 + entry["output_tokens"] * 2_000_000
    async with weir.http() as client:
        again = await client.get(f"/v1/requests/{earlier['id']}")
    assert again.json() == earlier


async def test_the_other_replicas_charge_by_it_too(
    weir: RunningWeir, admin: AsyncClient, start_weir: StartWeir
) -> None:
    other = await start_weir({})
    added = await add(admin, rates={"input": "3"})
    now = datetime.now(UTC)

    def other_knows() -> bool:
        price = other.wiring.price_admin._prices._book.find("test-a", None, now)
        return price is not None and price.id == added["id"]

    await until(other_knows)


async def test_what_was_withdrawn_is_charged_by_the_shipped_price_again(weir: RunningWeir, admin: AsyncClient) -> None:
    shipped = (await receipt(weir, "gpt-4o-mini"))["price_id"]
    added = await add(admin, model="gpt-4o-mini")
    assert (await receipt(weir, "gpt-4o-mini"))["price_id"] == added["id"]

    answer = await admin.post(PRICES, json={"model": "gpt-4o-mini", "withdrawn": True})
    withdrawn = answer.json()
    assert (answer.status_code, withdrawn["withdrawn"], withdrawn["rates"]) == (200, True, {})
    assert (await receipt(weir, "gpt-4o-mini"))["price_id"] == shipped
    assert await listed(admin, model="gpt-4o-mini", service_tier="default", at=withdrawn["valid_from"]) == [shipped]
    assert withdrawn["id"] in await listed(admin, source="operator")
    assert (await admin.get(f"{PRICES}/{withdrawn['id']}")).json() == withdrawn


async def test_only_a_price_of_ones_own_that_is_in_force_can_be_withdrawn(admin: AsyncClient) -> None:
    nothing = {"model": "test-a", "withdrawn": True}
    await add(admin, service_tier="flex")
    await add(admin, valid_from="2099-01-01T00:00:00Z")
    for withdrawal in (nothing, {"model": "gpt-4o-mini", "withdrawn": True}, {**nothing, "service_tier": "batch"}):
        assert_refused(await admin.post(PRICES, json=withdrawal), "withdrawn", "no price of your own for '")
    assert (await admin.post(PRICES, json={**nothing, "valid_from": "2099-02-01"})).status_code == 200
    assert (await admin.post(PRICES, json={**nothing, "service_tier": "flex"})).status_code == 200
    assert_refused(await admin.post(PRICES, json={**nothing, "service_tier": "flex"}), "withdrawn", "tier 'flex'")


async def test_a_price_that_is_to_begin_can_be_withdrawn_from_its_beginning_on(admin: AsyncClient) -> None:
    begins = "2099-01-01T00:00:00Z"
    added = await add(admin, valid_from=begins)
    assert await listed(admin, model="test-a", at=begins) == [added["id"]]
    withdrawal = {"model": "test-a", "withdrawn": True, "valid_from": begins}
    assert (await admin.post(PRICES, json=withdrawal)).status_code == 200
    assert await listed(admin, model="test-a", at=begins) == []
    assert_refused(await admin.post(PRICES, json=withdrawal), "withdrawn", "no price of your own for '")


async def test_a_price_for_every_model_charges_the_unpriced(weir: RunningWeir, admin: AsyncClient) -> None:
    assert "model_not_priced" in (await receipt(weir, "test-unpriced"))["flags"]
    added = await add(admin, model="*", rates={"input": "50"})

    unpriced, priced = await receipt(weir, "test-unpriced"), await receipt(weir, "gpt-4o-mini")
    assert (unpriced["price_id"], unpriced["flags"]) == (added["id"], [])
    assert priced["price_id"] != added["id"]


async def test_a_price_of_tomorrow_does_not_count_today(weir: RunningWeir, admin: AsyncClient) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    added = await add(admin, valid_from=tomorrow.isoformat())

    assert added["valid_from"] == tomorrow.isoformat()
    assert "model_not_priced" in (await receipt(weir, "test-a"))["flags"]
    assert await listed(admin, model="test-a", at=datetime.now(UTC).isoformat()) == []
    assert await listed(admin, model="test-a", at=tomorrow.isoformat()) == [added["id"]]


async def test_a_moment_without_an_offset_is_utc_and_one_just_past_is_now(admin: AsyncClient) -> None:
    now = datetime.now(UTC)
    naive = await add(admin, valid_from="2099-01-01T00:00:00")
    past = await add(admin, valid_from=(now - timedelta(minutes=4)).isoformat())

    assert naive["valid_from"] == "2099-01-01T00:00:00+00:00"
    assert datetime.fromisoformat(past["valid_from"]) >= now


async def test_the_past_is_refused(admin: AsyncClient) -> None:
    past = (datetime.now(UTC) - timedelta(minutes=6)).isoformat()
    assert_refused(await admin.post(PRICES, json={**OWN, "valid_from": past}), "valid_from", "begin in the past")


async def test_the_same_price_twice_is_a_conflict_that_is_not_worth_a_retry(admin: AsyncClient) -> None:
    moment = "2099-01-01T00:00:00Z"
    await add(admin, valid_from=moment)
    answer = await admin.post(PRICES, json={**OWN, "rates": {"input": "9"}, "valid_from": moment})

    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "price_exists"
    assert answer.headers["x-should-retry"] == "false"
    [price_id] = await listed(admin, model="test-a")
    assert (await admin.get(f"{PRICES}/{price_id}")).json()["rates"] == OWN["rates"]


async def test_a_long_context_is_kept_with_its_own_rates(admin: AsyncClient) -> None:
    long_context = {"above_input_tokens": 200_000, "rates": {"input": "2"}}
    assert (await add(admin, long_context=long_context))["long_context"] == long_context


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"rates": {"input": 1.5}}, "rates.input", "decimal dollars in a string"),
    ({"rates": {"input": 2}}, "rates.input", "decimal dollars in a string"),
    ({"rates": {"input": "-1"}}, "rates.input", "decimal dollars"),
    ({"rates": {"input": "NaN"}}, "rates.input", "decimal dollars"),
    ({"rates": {"input": "1e3"}}, "rates.input", "decimal dollars"),
    ({"rates": {"input": "0.0000000001"}}, "rates.input", "9 digits"),
    ({"rates": {"input": "100000.01"}}, "rates.input", "at most 100000 dollars"),
    ({"rates": {"inputs": "1"}}, "rates.inputs", "is not one of input, cached_input"),
    ({"rates": {"output": "1"}}, "rates.input", "is missing"),
    ({"rates": {}}, "rates", "at least one price is needed"),
    ({"rates": "1"}, "rates", "dictionary"),
    ({"per_unit_usd": {"search": "1"}}, "per_unit_usd.search", "is not one of images"),
    ({"per_unit_usd": {"images": 0.1}}, "per_unit_usd.images", "decimal dollars"),
    ({"per_request_usd": 0.1}, "per_request_usd", "decimal dollars"),
    ({"long_context": {"above_input_tokens": 5, "rates": {}}}, "long_context", "needs both"),
    ({"long_context": {"above_input_tokens": 5, "rates": {"in": "1"}}}, "long_context.rates.in", "is not one of"),
    ({"long_context": {"above_input_tokens": 5.0, "rates": {}}}, "long_context.above_input_tokens", "integer"),
    ({"long_context": {"rates": {"input": "1"}}}, "long_context.above_input_tokens", "Missing"),
    ({"model": "a b"}, "model", "pattern"),
    ({"model": "a*b"}, "model", "pattern"),
    ({"model": "a\x00"}, "model", "pattern"),
    ({"model": ""}, "model", "at least 1"),
    ({"model": 5}, "model", "string"),
    ({"service_tier": "cheap"}, "service_tier", "'default'"),
    ({"valid_from": "yesterday"}, "valid_from", "datetime"),
    ({"valid_from": "9999-12-31T23:59:59-01:00"}, "valid_from", "in UTC"),
    ({"valid_from": "0001-01-01T00:00:00+01:00"}, "valid_from", "in UTC"),
    ({"context_tokens_max": 0}, "context_tokens_max", "greater than"),
    ({"output_tokens_max": "5"}, "output_tokens_max", "integer"),
    ({"source": "genai-prices"}, "source", "not permitted"),
    ({"id": "mine"}, "id", "not permitted"),
    ({"withdrawn": True}, "withdrawn", "stands alone"),
    ({"withdrawn": "perhaps"}, "withdrawn", "boolean"),
]


async def test_what_is_no_price_is_refused_by_the_name_of_its_field(admin: AsyncClient) -> None:
    for fields, param, reason in BAD:
        assert_refused(await admin.post(PRICES, json={**OWN, **fields}), param, reason)
    assert await listed(admin, source="operator") == []


async def test_a_list_of_no_moment_is_refused(admin: AsyncClient) -> None:
    for moment in ("9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"):
        assert_refused(await admin.get(PRICES, params={"at": moment}), "at", "in UTC")


async def test_a_price_of_nothing_is_allowed(weir: RunningWeir, admin: AsyncClient) -> None:
    added = await add(admin, rates={"input": "0"})
    assert (await receipt(weir, "test-a"))["price_id"] == added["id"]


def assert_refused(answer: Response, param: str, reason: str) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert reason in error["message"]


async def test_prices_are_paged_in_either_direction(admin: AsyncClient) -> None:
    ids = [(await add(admin, model=f"test-{name}"))["id"] for name in "cab"]
    ids.sort()
    for order, expected in (("asc", ids), ("desc", ids[::-1])):
        found: list[str] = []
        after: dict[str, str] = {}
        while True:
            query = {"source": "operator", "limit": "2", "order": order, **after}
            page = (await admin.get(PRICES, params=query)).json()
            assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
            found += [price["id"] for price in page["data"]]
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}
        assert found == expected
    page = (await admin.get(PRICES, params={"model": "no-such", "source": "operator"})).json()
    assert page == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


async def test_prices_are_found_by_model_tier_and_source(admin: AsyncClient) -> None:
    exact = await add(admin, model="test-a-1")
    flex = await add(admin, model="test-a-1", service_tier="flex")
    pattern = await add(admin, model="test-a*")
    await add(admin, model="test-b*")

    assert await listed(admin, model="test-a-1") == sorted([exact["id"], flex["id"], pattern["id"]])
    assert await listed(admin, model="test-a*") == [pattern["id"]]
    assert await listed(admin, model="test-a-1", service_tier="flex") == [flex["id"]]
    assert await listed(admin, model="test-a-1", source="genai-prices") == []
    shipped = await listed(admin, model="gpt-4o-mini", source="genai-prices", service_tier="default")
    assert shipped == ["gpt-4o-mini/default/2020-01-01T00:00:00+00:00/genai-prices"]


async def test_what_is_in_force_at_a_moment_is_the_newest_of_each_model_and_tier(admin: AsyncClient) -> None:
    old = await add(admin, valid_from="2090-01-01T00:00:00Z")
    new = await add(admin, valid_from="2090-06-01T00:00:00Z")

    assert await listed(admin, model="test-a", at="2090-05-31T23:59:59Z") == [old["id"]]
    assert await listed(admin, model="test-a", at="2090-06-01T00:00:00") == [new["id"]]
    override = await add(admin, model="gpt-4o-mini")
    now = datetime.now(UTC).isoformat()
    assert await listed(admin, model="gpt-4o-mini", service_tier="default", at=now) == [override["id"]]


async def test_a_question_that_makes_no_sense_is_refused(admin: AsyncClient) -> None:
    for query, param in (
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"service_tier": "x"}, "service_tier"),
        ({"at": "x"}, "at"),
        ({"order": "up"}, "order"),
        ({"modle": "gpt-4o"}, "modle"),
        ({"model": "a\x00"}, "model"),
        ({"after": "\x00"}, "after"),
    ):
        assert_refused(await admin.get(PRICES, params=query), param, param)


@pytest.mark.parametrize("price_id", ["price_none", "a/b/c", "a%00b"])
async def test_an_unknown_price_is_not_found(admin: AsyncClient, price_id: str) -> None:
    answer = await admin.get(f"{PRICES}/{price_id}")
    assert answer.status_code == (400 if "%00" in price_id else 404)


async def test_only_admin_keys_see_or_change_prices(weir: RunningWeir, admin: AsyncClient) -> None:
    async with weir.http() as client:
        answers = [await client.get(PRICES), await client.get(f"{PRICES}/x"), await client.post(PRICES, json=OWN)]
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert await listed(admin, source="operator") == []
