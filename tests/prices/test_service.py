"""Which price a call is charged by, and that no price which was charged by ever changes."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.core import schema
from app.core.db import Database
from app.core.health import Dependency
from app.core.money import Nano
from app.first_run import open_database
from app.prices.price_file import parse_prices
from app.prices.service import _SHIPPED, Charge, PriceService
from app.prices.usage import Usage
from app.settings import Settings
from tests.fixtures.waiting import until

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MILLION = Usage(input_tokens=1_000_000)


def price_file(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"version": "test", "prices": rows}).encode()


def row(model: str, usd: str = "1.00", tier: str = "default", **fields: Any) -> dict[str, Any]:
    return {
        "model": model,
        "service_tier": tier,
        "valid_from": "2026-01-01",
        "rates": {"input": usd},
        "source": "test",
        **fields,
    }


@pytest.fixture
def prices(db: Database) -> PriceService:
    return PriceService(db)


async def load(prices: PriceService, *rows: dict[str, Any]) -> None:
    await prices.seed(price_file(*rows))
    await prices.load()


def test_without_a_book_nothing_has_a_price(db: Database) -> None:
    charge = PriceService(db).charge(("gpt-4o-mini",), None, MILLION, NOW)

    assert charge == Charge(Nano(0), None, ("model_not_priced",))


async def test_the_shipped_prices_are_there_once_they_were_seeded(prices: PriceService) -> None:
    await prices.load()

    charge = prices.charge(("gpt-4o-mini-2024-07-18", "gpt-4o-mini"), "default", MILLION, NOW)

    assert charge.cost == 150_000_000  # 0.15 dollars
    assert charge.price is not None
    assert charge.flags == ()


async def test_a_call_is_charged_by_the_model_that_answered_and_else_by_the_one_that_was_asked(
    prices: PriceService,
) -> None:
    await load(prices, row("test-asked", "1"), row("test-answered", "2"))

    def cost(*models: str) -> int:
        return prices.charge(models, None, MILLION, NOW).cost

    assert cost("test-answered", "test-asked") == 2_000_000_000
    assert cost("test-no-such-model", "test-asked") == 1_000_000_000
    assert cost("test-asked") == 1_000_000_000


async def test_a_model_without_a_price_costs_nothing_and_says_so(prices: PriceService) -> None:
    await load(prices, row("test-a"))

    assert prices.charge(("test-b", "test-c"), None, MILLION, NOW) == Charge(Nano(0), None, ("model_not_priced",))


async def test_a_price_that_is_not_yet_valid_is_none(prices: PriceService) -> None:
    await load(prices, row("test-a"))

    charge = prices.charge(("test-a",), None, MILLION, datetime(2025, 12, 31, tzinfo=UTC))

    assert charge.flags == ("model_not_priced",)


@pytest.mark.parametrize(
    ("tier", "dollars", "flags"),
    [
        (None, 1, ()),
        ("default", 1, ()),
        ("auto", 1, ()),
        ("priority", 3, ()),
        ("fast", 3, ()),
        ("flex", 1, ("tier_not_priced",)),
        ("hyperfast", 3, ("tier_not_priced",)),
    ],
)
async def test_a_tier_without_a_price_of_its_own_is_charged_safely_and_says_so(
    prices: PriceService, tier: str | None, dollars: int, flags: tuple[str, ...]
) -> None:
    await load(prices, row("test-a", "1"), row("test-a", "3", "priority"))

    charge = prices.charge(("test-a",), tier, MILLION, NOW)

    assert (charge.cost, charge.flags) == (dollars * 1_000_000_000, flags)


@pytest.mark.parametrize(
    ("units", "usage", "flags"),
    [
        ({}, Usage(file_searches=1), ("tool_not_priced",)),
        ({}, Usage(code_interpreter_sessions=4), ("tool_not_priced",)),
        ({}, Usage(web_searches=1), ("tool_not_priced",)),
        ({"web_search_previews": "0.01"}, Usage(web_searches=1), ("tool_not_priced",)),
        ({"web_searches": "0.01"}, Usage(web_search_previews=1), ()),
        ({"file_searches": "0"}, Usage(file_searches=1), ()),
        ({"file_searches": "0.01"}, Usage(images=1, characters=1, audio_seconds=1), ()),
    ],
    ids=str,
)
async def test_calls_of_tools_that_a_price_says_nothing_about_are_flagged(
    prices: PriceService, units: dict[str, str], usage: Usage, flags: tuple[str, ...]
) -> None:
    await load(prices, row("test-a", per_unit_usd=units))

    assert prices.charge(("test-a",), None, usage, NOW).flags == flags


async def test_the_shipped_prices_are_seeded_once_however_many_processes_try(empty_settings: Settings) -> None:
    databases = [open_database(empty_settings) for _ in range(3)]
    await schema.migrate(databases[0])
    shipped = _SHIPPED.read_bytes()
    _, expected = parse_prices(shipped)

    with capture_logs() as lines:
        added = await asyncio.gather(*(PriceService(db).seed() for db in databases))
        again = await PriceService(databases[0]).seed()

    assert sorted(added) == [0, 0, len(expected)]
    assert again == 0
    assert lines == []
    async with databases[0].hot_connection() as connection:
        rows = await connection.fetch("SELECT id FROM prices")
    assert sorted(row[0] for row in rows) == sorted(price.id for price in expected)
    for db in databases:
        await db.close()


async def test_a_shipped_price_that_differs_from_the_one_in_use_is_said_and_not_applied(prices: PriceService) -> None:
    await load(prices, row("test-a", "1"), row("test-b", "1"))

    with capture_logs() as lines:
        added = await prices.seed(price_file(row("test-a", "2"), row("test-b", "1"), row("test-c", "1")))
    await prices.load()

    assert added == 1
    assert [(line["event"], line["log_level"], line["price_id"]) for line in lines] == [
        ("price_differs", "warning", "test-a/default/2026-01-01T00:00:00+00:00/test")
    ]
    assert prices.charge(("test-a",), None, MILLION, NOW).cost == 1_000_000_000


async def test_a_corrected_price_with_a_date_of_its_own_is_charged_from_then_on(prices: PriceService) -> None:
    await load(prices, row("test-a", "1"))
    await load(prices, row("test-a", "1"), row("test-a", "2", valid_from="2026-05-01"))

    assert prices.charge(("test-a",), None, MILLION, datetime(2026, 4, 30, tzinfo=UTC)).cost == 1_000_000_000
    assert prices.charge(("test-a",), None, MILLION, NOW).cost == 2_000_000_000


async def test_a_shipped_price_beside_an_operators_own_is_said_when_it_comes(
    prices: PriceService, db: Database
) -> None:
    ended = {**row("test-c", "1", source="operator", valid_from="2026-02-01"), "withdrawn": True}
    del ended["rates"]
    again = [row("test-c", "1", source="operator"), row("test-b", "1"), ended]
    await load(prices, row("test-a", "1", source="operator"), *again)
    later = [row(model, "2", valid_from="2026-05-01") for model in ("test-a", "test-b", "test-c")]

    with capture_logs() as lines:
        await prices.seed(price_file(*later))
        await prices.seed(price_file(*later))

    assert [(line["event"], line["price_id"]) for line in lines] == [
        ("price_shipped_for_override", "test-a/default/2026-05-01T00:00:00+00:00/test")
    ]


async def test_a_shipped_price_that_takes_the_place_of_an_operators_for_more_is_said_when_it_comes(
    prices: PriceService,
) -> None:
    ended = {**row("test-d", source="operator", valid_from="2126-01-01"), "withdrawn": True}
    del ended["rates"]
    own = [row(model, source="operator") for model in ("test-a*", "test-b", "test-d", "test-e-1", "*")]
    await load(prices, *own, ended, row("test-a-2", "1"))
    new = ["test-a-1", "test-a-2", "test-c", "test-d", "test-e*"]
    later = [row(model, "2", valid_from="2026-05-01") for model in new]
    later.append(row("test-b", "2", tier="batch", valid_from="2026-05-01"))

    with capture_logs() as lines:
        await prices.seed(price_file(*later))
    await prices.load()

    said = {line["price_id"].partition("/2026")[0]: line["advice"].partition("; ")[0] for line in lines}
    assert said == {
        "test-a-1/default": f"it is for a more exact name or tier than yours, {own_id('test-a*')}, and is charged",
        "test-b/batch": f"it is for a more exact name or tier than yours, {own_id('test-b')}, and is charged",
        "test-d/default": "your own price goes on being charged",
    }
    assert {line["event"] for line in lines} == {"price_shipped_for_override"}
    assert prices.charge(("test-a-1",), None, MILLION, NOW).cost == 2_000_000_000


def own_id(model: str) -> str:
    return f"{model}/default/2026-01-01T00:00:00+00:00/operator"


async def test_prices_that_expired_are_read_again_and_others_are_kept_as_long_as_they_cannot_be(
    prices: PriceService, db: Database
) -> None:
    await load(prices, row("test-a", "1"))

    def usd() -> int:
        return prices.charge(("test-a",), None, MILLION, NOW).cost // 1_000_000_000

    fresh = asyncio.create_task(prices.keep_fresh())
    try:
        with capture_logs() as lines:
            await prices.seed(price_file(row("test-a", "2", valid_from="2026-02-01")))
            prices.expire("")
            await until(lambda: usd() == 2)
            async with db.hot_connection() as connection:
                await connection.execute(
                    "INSERT INTO prices VALUES ('price_bad', 'test-bad', 'default', '2026-01-01', '{}', 'operator')"
                )
            prices.expire("")
            await until(lambda: len(lines) == 1)
            assert usd() == 2
            async with db.hot_connection() as connection:
                await connection.execute("DELETE FROM prices WHERE id = 'price_bad'")
            await prices.seed(price_file(row("test-a", "3", valid_from="2026-03-01")))
            prices.expire("")
            await until(lambda: usd() == 3)
        assert [(line["event"], line["log_level"]) for line in lines] == [("prices_not_loaded", "error")]
    finally:
        fresh.cancel()


async def test_while_the_database_is_away_the_prices_in_memory_are_used(settings: Settings) -> None:
    health = Dependency("database", lambda is_up: None)
    away = Database("postgresql://nobody:nothing@127.0.0.1:1/none", settings.database, health)
    prices = PriceService(away)
    fresh = asyncio.create_task(prices.keep_fresh())
    try:
        for _ in range(2):
            health.up()
            prices.expire("")
            await until(lambda: not health.is_up)
        assert not fresh.done()
    finally:
        fresh.cancel()
        await away.close()


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ('{"model": "test-bad"}', "service_tier: must be a string"),
        ("null", "price: must be an object"),
        (
            json.dumps({**row("test-bad"), "rates": {"input": 1.5}}),
            "rates.input: must be decimal dollars in a string",
        ),
    ],
)
async def test_a_row_that_cannot_be_read_is_named_and_the_book_stays_as_it_was(
    prices: PriceService, db: Database, document: str, reason: str
) -> None:
    await load(prices, row("test-a", "1"))
    async with db.hot_connection() as connection:
        await connection.execute("DELETE FROM prices WHERE model = 'test-a'")
        await connection.execute(
            f"INSERT INTO prices VALUES ('price_bad', 'test-bad', 'default', '2026-01-01', '{document}', 'operator')"
        )

    with pytest.raises(ValueError, match=f"price price_bad: {reason}"):
        await prices.load()

    assert prices.charge(("test-a",), None, MILLION, NOW).cost == 1_000_000_000


async def test_an_operators_row_keeps_the_id_that_it_was_given(prices: PriceService, db: Database) -> None:
    document = json.dumps(row("test-a", "7", source="operator"))
    async with db.hot_connection() as connection:
        await connection.execute(
            f"INSERT INTO prices VALUES ('price_1', 'test-a', 'default', '2026-01-01', '{document}', 'operator')"
        )
    await prices.load()

    charge = prices.charge(("test-a",), None, MILLION, NOW)

    assert charge.price is not None
    assert (charge.price.id, charge.cost) == ("price_1", 7_000_000_000)
