"""Prices are added and never changed."""

from datetime import UTC, datetime
from typing import Any

from app.core.db import Database
from app.core.pagination import Paging
from app.prices import repository
from app.prices.book import OPERATOR_SOURCE, Book
from app.prices.price_file import price_from_row
from app.prices.record import PriceFilter

ROW: dict[str, Any] = {
    "model": "test-a",
    "service_tier": "flex",
    "valid_from": "2026-01-01",
    "rates": {"input": "1.50"},
    "source": "test",
    "output_tokens_max": 4096,
}


async def add(db: Database, *rows: dict[str, Any]) -> int:
    async with db.transaction() as tx:
        return await repository.add_prices(tx, [(price_from_row(row), row) for row in rows])


async def documents(db: Database) -> dict[str, dict[str, Any]]:
    async with db.transaction() as tx:
        return {key: row for key, row in await repository.list_prices(tx) if key.startswith("test-")}


async def test_a_price_is_kept_as_it_was_written(db: Database) -> None:
    assert await add(db, ROW) == 1

    assert await documents(db) == {price_from_row(ROW).id: ROW}
    async with db.hot_connection() as connection:
        row = await connection.fetchrow("SELECT * FROM prices WHERE model = 'test-a'")
    assert (row["service_tier"], row["source"], row["valid_from"].isoformat()) == (
        "flex",
        "test",
        "2026-01-01T00:00:00+00:00",
    )


async def test_only_what_is_not_there_is_added_and_counted(db: Database) -> None:
    await add(db, ROW)

    assert await add(db, ROW, {**ROW, "model": "test-b"}) == 1
    assert await add(db, ROW, {**ROW, "model": "test-b"}) == 0
    assert len(await documents(db)) == 2


async def test_a_price_that_is_there_is_not_changed(db: Database) -> None:
    await add(db, ROW)

    assert await add(db, {**ROW, "rates": {"input": "9.99"}}) == 0

    assert await documents(db) == {price_from_row(ROW).id: ROW}


async def test_what_is_in_force_is_what_the_book_finds(db: Database) -> None:
    months = [f"2026-{month:02}-01" for month in range(1, 8)]
    rows = [{**ROW, "valid_from": months[at]} for at in (1, 4)]
    own = {**ROW, "source": OPERATOR_SOURCE}
    rows += [{**own, "valid_from": months[at]} for at in (0, 2, 5)]
    bare = {name: own[name] for name in ("model", "service_tier", "source")}
    rows += [{**bare, "valid_from": months[at], "withdrawn": True} for at in (3, 6)]
    await add(db, *rows, {**ROW, "model": "test-b", "valid_from": months[3]})
    book = Book([price_from_row(row) for row in rows])

    found = []
    for month in months:
        at = datetime.fromisoformat(month).replace(tzinfo=UTC)
        async with db.transaction() as tx:
            wanted = PriceFilter(model="test-a", at=at)
            records = await repository.list_records(tx, wanted, Paging(None, 20, "asc"))
        price = book.find("test-a", "flex", at)
        assert [record.id for record in records] == [price.id] if price else []
        found.append(price and (price.source == OPERATOR_SOURCE, price.valid_from.month))
    assert found == [(True, 1), (True, 1), (True, 3), (False, 2), (False, 5), (True, 6), (False, 5)]
