"""Prices as operators manage them: read, and add to, never change, as entries of the ledger were charged by them."""

from datetime import datetime, timedelta
from typing import Any, Final

from app.audit.service import record as audit
from app.core.clock import Clock
from app.core.db import Database
from app.core.pagination import Page, Paging
from app.errors import InvalidRequest, NotFound, PriceExists
from app.prices import repository
from app.prices.book import OPERATOR_SOURCE
from app.prices.price_file import price_from_row
from app.prices.record import PriceFilter, PriceRecord
from app.prices.service import PriceService

_PAST_MAX: Final = timedelta(minutes=5)
"""Clocks differ: a moment not longer ago than this means now."""


class PriceAdmin:
    """Lists prices and adds an operator's own."""

    def __init__(self, db: Database, prices: PriceService, clock: Clock) -> None:
        self._db = db
        self._prices = prices
        self._clock = clock

    async def list_prices(self, wanted: PriceFilter, paging: Paging) -> Page[PriceRecord]:
        """Return the prices that are *wanted*, by id; raises InvalidRequest for an unknown `after`."""
        async with self._db.transaction() as tx:
            if paging.after is not None and await repository.find_price(tx, paging.after) is None:
                raise InvalidRequest("Invalid value for 'after': there is no such price.", param="after")
            return Page.of(await repository.list_records(tx, wanted, paging), paging.limit)

    async def get_price(self, price_id: str) -> PriceRecord:
        """Return one price; raises NotFound."""
        async with self._db.transaction() as tx:
            record = await repository.find_price(tx, price_id)
        if record is None:
            raise NotFound("There is no such price.", param="price_id")
        return record

    async def create_price(self, document: dict[str, Any], valid_from: datetime | None) -> PriceRecord:
        """Add the price in *document*, or its withdrawal, in force from *valid_from* or now on, on every replica.

        This process charges by it when this returns, the others within a second. Raises InvalidRequest, which names
        the field, for what is no price, begins in the past, or withdraws nothing, and PriceExists.
        """
        row = {**document, "source": OPERATOR_SOURCE, "valid_from": self._beginning(valid_from).isoformat()}
        try:
            price = price_from_row(row)
        except ValueError as error:
            field, _, reason = str(error).partition(": ")
            raise InvalidRequest(f"Invalid '{field}': {reason}.", param=field) from None
        async with self._db.transaction() as tx:
            if price.is_withdrawal and not await repository.has_own(tx, price):
                raise InvalidRequest(
                    f"Invalid 'withdrawn': no price of your own for '{price.model}' in the tier '{price.service_tier}' "
                    "is in force then.",
                    param="withdrawn",
                )
            if not await repository.add_prices(tx, [(price, row)]):
                raise PriceExists
            await repository.notify(tx)
            await audit(tx, "price.created", price.id, details={"data": row})
        await self._prices.load()
        return await self.get_price(price.id)

    def _beginning(self, valid_from: datetime | None) -> datetime:
        now = self._clock()
        if valid_from is None:
            return now
        if valid_from < now - _PAST_MAX:
            raise InvalidRequest(
                "Invalid 'valid_from': a price cannot begin in the past, as calls were charged without it.",
                param="valid_from",
            )
        return max(valid_from, now)
