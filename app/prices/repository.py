"""Prices in PostgreSQL: rows are added, never changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.prices.book import Price
from app.prices.models import PriceRow


async def add_prices(tx: AsyncConnection, prices: Sequence[tuple[Price, Mapping[str, Any]]]) -> int:
    """Insert those of *prices* that are not there yet, each with its document; return how many were new."""
    rows = [
        {
            "id": price.id,
            "model": price.model,
            "service_tier": price.service_tier,
            "valid_from": price.valid_from,
            "document": document,
            "source": price.source,
        }
        for price, document in prices
    ]
    added = await tx.execute(insert(PriceRow).on_conflict_do_nothing().returning(PriceRow.id), rows)
    return len(added.all())


async def list_prices(tx: AsyncConnection) -> list[tuple[str, dict[str, Any]]]:
    """Return the id and the document of every price."""
    return [(row.id, row.document) for row in await tx.execute(select(PriceRow.id, PriceRow.document))]
