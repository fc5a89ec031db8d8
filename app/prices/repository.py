"""Prices in PostgreSQL: rows are added, never changed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, func, or_, select, text
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from app.core.pagination import Paging
from app.prices.book import OPERATOR_SOURCE, Price
from app.prices.models import PriceRow
from app.prices.record import PriceFilter, PriceRecord

CHANNEL: Final = "weir_prices"
"""Notified whenever a price is added by hand."""
_RECORD: Final = [getattr(PriceRow, name) for name in PriceRecord._fields]


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


async def notify(tx: AsyncConnection) -> None:
    """Tell every process, when the transaction commits, that there are other prices."""
    await tx.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


async def find_price(tx: AsyncConnection, price_id: str) -> PriceRecord | None:
    """Return one price."""
    row = (await tx.execute(select(*_RECORD).where(PriceRow.id == price_id))).one_or_none()
    return None if row is None else PriceRecord(*row)


async def has_own(tx: AsyncConnection, price: Price) -> bool:
    """Tell whether an operator's price for the model and the tier of *price* is in force when that begins."""
    in_force = _in_force(price.valid_from).where(
        PriceRow.model == price.model, PriceRow.service_tier == price.service_tier, PriceRow.source == OPERATOR_SOURCE
    )
    return (await tx.execute(in_force)).first() is not None


async def list_records(tx: AsyncConnection, wanted: PriceFilter, paging: Paging) -> list[PriceRecord]:
    """Return the prices that are *wanted*, by id, behind the id that *paging* names; one more than its limit."""
    query = select(*_RECORD)
    if wanted.at is not None:
        query = query.where(PriceRow.id.in_(_in_force(wanted.at)))
    if wanted.model is not None:
        prefix = func.left(PriceRow.model, -1)
        is_pattern = func.right(PriceRow.model, 1) == "*"
        query = query.where(
            or_(PriceRow.model == wanted.model, is_pattern & func.starts_with(wanted.model, prefix)),
        )
    for column, value in ((PriceRow.service_tier, wanted.service_tier), (PriceRow.source, wanted.source)):
        if value is not None:
            query = query.where(column == value)
    is_ascending = paging.order == "asc"
    if paging.after is not None:
        query = query.where(PriceRow.id > paging.after if is_ascending else PriceRow.id < paging.after)
    ordered = query.order_by(PriceRow.id.asc() if is_ascending else PriceRow.id.desc())
    return [PriceRecord(*row) for row in await tx.execute(ordered.limit(paging.limit + 1))]


def _in_force(at: datetime) -> Select[str]:
    """Return the id of the row that `Book.find` chooses for each model and tier: an operator's, then the newest."""
    later = aliased(PriceRow)
    is_withdrawn = (
        select(later.id)
        .where(
            later.model == PriceRow.model,
            later.service_tier == PriceRow.service_tier,
            later.valid_from.between(PriceRow.valid_from, at),
            later.document["withdrawn"].astext == "true",
        )
        .exists()
    )
    first = (PriceRow.source == OPERATOR_SOURCE, PriceRow.valid_from, PriceRow.source, PriceRow.id)
    return (
        select(PriceRow.id)
        .ext(distinct_on(PriceRow.model, PriceRow.service_tier))
        .where(PriceRow.valid_from <= at, (PriceRow.source != OPERATOR_SOURCE) | ~is_withdrawn)
        .order_by(PriceRow.model, PriceRow.service_tier, *(column.desc() for column in first))
    )
