"""The price book of this process: read from PostgreSQL, kept in memory, replaced as a whole when prices change."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from app.core.db import Database
from app.core.money import Nano
from app.prices import repository
from app.prices.book import Book, Price
from app.prices.cost import ceiling, cost
from app.prices.price_file import parse_prices, price_from_row
from app.prices.usage import Usage

_log: Final = structlog.get_logger()
OUTPUT_TOKENS_DEFAULT: Final = 16_384
"""Expected of a model whose price names no maximum, when the request names none either."""
_SHIPPED: Final = Path(__file__).with_name("prices.json")


class Charge(NamedTuple):
    """What a call costs, by which price (None when the model has none), and what a person should know about it."""

    cost: Nano
    price: Price | None
    flags: tuple[str, ...]


class Bound(NamedTuple):
    """The most that a request can use, as far as it says so itself."""

    input_tokens: int
    output_tokens: int | None
    """For each choice; None when the request names no maximum."""
    choices: int
    may_hold_audio: bool


class Ceiling(NamedTuple):
    """The most that a call can cost, and by which price."""

    nano: Nano
    price_id: str | None


class PriceService:
    """Looks up prices and costs; no I/O once loaded."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._book = Book()

    async def seed(self, shipped: bytes | None = None) -> int:
        """Add the prices of *shipped* that the database does not have yet; return how many.

        One that is there already is never changed, as entries were charged by it; where the shipped one differs
        (somebody corrected it), a warning says so. To charge by it, it needs a `valid_from` of its own.
        """
        document = json.loads(_SHIPPED.read_bytes() if shipped is None else shipped)
        _, prices = parse_prices(document)
        async with self._db.transaction() as tx:
            added = await repository.add_prices(tx, list(zip(prices, document["prices"], strict=True)))
            stored = dict(await repository.list_prices(tx))
        for price, row in zip(prices, document["prices"], strict=True):
            if stored[price.id] != row:
                _log.warning("price_differs", price_id=price.id, advice="the database's price goes on being charged")
        return added

    async def load(self) -> None:
        """Replace the book in memory by what the database has.

        Raises ValueError, naming the row and the field, for one that cannot be read; the book stays as it was then.
        """
        async with self._db.transaction() as tx:
            rows = await repository.list_prices(tx)
        self._book = Book([_read(price_id, document) for price_id, document in rows])

    def ceiling(self, model: str, service_tier: str | None, bound: Bound, at: datetime) -> Ceiling:
        """Return the most that a call within *bound* can cost; nothing for a model without a price."""
        price = self._book.find(model, service_tier, at)
        if price is None:
            return Ceiling(Nano(0), None)
        return Ceiling(ceiling(price, _bounded_usage(price, bound)), price.id)

    def charge(self, models: tuple[str, ...], service_tier: str | None, usage: Usage, at: datetime) -> Charge:
        """Return what *usage* costs at the price of the first of *models* that has one, valid at *at*.

        A model without a price costs nothing and is flagged `model_not_priced`; a tier without a price of its own is
        charged as `Book.find` says and flagged `tier_not_priced`.
        """
        for model in models:
            price = self._book.find(model, service_tier, at)
            if price is not None:
                flags = () if price.is_for(service_tier) else ("tier_not_priced",)
                return Charge(cost(price, usage), price, flags)
        return Charge(Nano(0), None, ("model_not_priced",))


def _bounded_usage(price: Price, bound: Bound) -> Usage:
    input_tokens = min(bound.input_tokens, price.context_tokens_max or bound.input_tokens)
    output_tokens = bound.choices * (bound.output_tokens or price.output_tokens_max or OUTPUT_TOKENS_DEFAULT)
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        input_audio_tokens=input_tokens if bound.may_hold_audio else 0,
        output_audio_tokens=output_tokens if bound.may_hold_audio else 0,
    )


def _read(price_id: str, document: dict[str, Any]) -> Price:
    try:
        return price_from_row(document, price_id)
    except ValueError as error:
        raise ValueError(f"price {price_id}: {error}") from None
