"""The price book of this process: read from PostgreSQL, kept in memory, replaced as a whole when prices change."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from app.core.clock import utc_now
from app.core.db import Database
from app.core.money import NANO_MAX, Nano
from app.core.snapshot import Snapshot
from app.prices import repository
from app.prices.book import OPERATOR_SOURCE, Book, Price
from app.prices.cost import CeilingLine, ceiling_line, cost
from app.prices.price_file import parse_prices, price_from_row
from app.prices.usage import NO_USAGE, Usage

_log: Final = structlog.get_logger()
OUTPUT_TOKENS_DEFAULT: Final = 16_384
"""Expected of a model whose price names no maximum, when the request names none either."""
CONTEXT_TOKENS_DEFAULT: Final = 10_000_000
"""More than fits into any model: what a request may fill whose price does not say how much fits."""
PRICES_CHANGED: Final = repository.CHANNEL
"""The channel on which every process hears of new prices; see `PriceService.expire`."""
_SHIPPED: Final = Path(__file__).with_name("prices.json")


@dataclass(slots=True)
class Charge:
    """What a call costs, by which price (None when the model has none), and what a person should know about it."""

    cost: Nano
    price: Price | None
    flags: tuple[str, ...]


class Bound(NamedTuple):
    """The most that a request can use, as far as it says so itself."""

    input_tokens: int
    """Of all that it sends, however much of that fits into the model."""
    output_tokens: int | None
    """For each choice; None when the request names no maximum."""
    choices: int = 1
    predicted_tokens: int = 0
    """Billed as output of each choice when they turn out wrong, whatever its maximum."""
    fills_context: bool = False
    """Its input may be as much as fits into the model: a file, an unknown kind of content, what a search finds."""
    hears: bool = False
    """Some of its input may be audio."""
    sees: bool = False
    """Some of its input may be images."""
    speaks: bool = False
    """Some of its output may be audio."""
    draws: bool = False
    """Some of its output may be images; no model draws and speaks."""
    units: Usage = Usage()
    """What it can use at most of what is not counted in tokens: images, characters, seconds, calls of tools."""
    keeps_cache: bool = False
    """It may write to the cache for twelve hours."""
    inputs: int = 1
    """How many inputs it has that each may fill the model by itself."""
    is_unpriced: bool = False
    """It may use what the price of its model does not cover."""


class Ceiling(NamedTuple):
    """The most that a call can cost, and by which price."""

    nano: Nano
    price_id: str | None


_NOTHING: Final = Nano(0)
_NONE: Final = Ceiling(_NOTHING, None)


class PriceService(Snapshot):
    """Looks up prices and costs; no I/O once loaded.

    `load` also raises ValueError, naming the row and the field, for one that cannot be read; the book stays as it was.
    """

    def __init__(self, db: Database) -> None:
        super().__init__()
        self._db = db
        self._book = Book()

    async def seed(self, shipped: bytes | None = None) -> int:
        """Add the prices of *shipped* that the database does not have yet; return how many.

        One that is there already is never changed, as entries were charged by it; where the shipped one differs
        (somebody corrected it), a warning says so. To charge by it, it needs a `valid_from` of its own. Another warning
        names what was added beside a price of an operator's, and by which of the two is charged.
        """
        document = json.loads(_SHIPPED.read_bytes() if shipped is None else shipped)
        _, prices = parse_prices(document)
        async with self._db.transaction() as tx:
            stored = dict(await repository.list_prices(tx))
            added = await repository.add_prices(tx, list(zip(prices, document["prices"], strict=True)))
        for price, row in zip(prices, document["prices"], strict=True):
            if stored.get(price.id, row) != row:
                _log.warning("price_differs", price_id=price.id, advice="the database's price goes on being charged")
        new = [price for price in prices if price.id not in stored]
        if any(row and row.get("source") == OPERATOR_SOURCE for row in stored.values()):
            _warn_of_overrides([_read(*each) for each in stored.items()], new)
        return added

    async def _load(self) -> None:
        async with self._db.transaction() as tx:
            rows = await repository.list_prices(tx)
        self._book = Book([_read(price_id, document) for price_id, document in rows])

    async def _refresh(self) -> None:
        try:
            await super()._refresh()
        except ValueError as error:
            _log.error("prices_not_loaded", reason=str(error))

    def models(self) -> list[str]:
        """Return every model, and pattern of models, that has a price now."""
        return self._book.models(utc_now())

    def has_price(self, model: str, at: datetime) -> bool:
        """Tell whether *model* has a price in any tier."""
        return bool(self._book.find_possible(model, None, at))

    @property
    def book(self) -> Book:
        """The prices that are known now; it never changes, another takes its place."""
        return self._book

    def ceilings(
        self,
        model: str,
        service_tier: str | None,
        bound: Bound,
        at: datetime,
        sent_model: str | None = None,
        book: Book | None = None,
    ) -> "Ceilings":
        """Return the most that a call within *bound* can cost, whatever maximum it gets, by *book* or the present one.

        It may be charged as *model* or, if its upstream calls that otherwise, as *sent_model*.
        """
        if bound.is_unpriced:
            return Ceilings((), bound)
        book = book or self._book
        found = book.find_possible(model, service_tier, at)
        if sent_model not in (None, model):
            found = [*found, *book.find_possible(sent_model, service_tier, at)]
        choices, predicted_tokens = bound.choices, bound.predicted_tokens
        lines = [
            ceiling_line(price, _most(price, bound), choices=choices, predicted_tokens=predicted_tokens)
            for price in found
        ]
        return Ceilings(lines, bound)

    def charge(
        self,
        models: tuple[str, ...],
        service_tier: str | None,
        usage: Usage,
        at: datetime,
        book: Book | None = None,
        variants: Sequence[str] = (),
    ) -> Charge:
        """Return what *usage* costs at the price that `Book.find_first` has for *models*, or their *variants*, at *at*.

        By *book*, or the present one: a call is charged by that which its ceiling was reserved by.

        A model without a price costs nothing and is flagged `model_not_priced`; a tier without a price of its own is
        charged as `Book.find` says and flagged `tier_not_priced`. Calls of tools that the price says nothing about cost
        nothing and are flagged `tool_not_priced`.
        """
        price = (book or self._book).find_first(models, service_tier, at, variants)
        if price is not None:
            flags = () if price.is_for(service_tier) else ("tier_not_priced",)
            if any(getattr(usage, name) for name in price.unpriced_tools):
                flags = (*flags, "tool_not_priced")
            return Charge(cost(price, usage), price, flags)
        return Charge(_NOTHING, None, ("model_not_priced",))


class Ceilings:
    """The most that one call can cost, by what each of its choices may have as a maximum of output tokens.

    None of them costs anything where no price is known.
    """

    def __init__(self, lines: Sequence[CeilingLine], bound: Bound) -> None:
        self._lines = lines
        self._bound = bound

    def most(self) -> Ceiling:
        """Return the ceiling with the maximum of the bound, else of the model, else OUTPUT_TOKENS_DEFAULT."""
        return max([self._at(line, _output_tokens(line.price, self._bound)) for line in self._lines] or [_NONE])

    def with_maximum(self, output_tokens: int) -> Nano:
        """Return the ceiling with a maximum of *output_tokens* for each choice."""
        return min(NANO_MAX, max([line.at(output_tokens) for line in self._lines] or [_NOTHING]))

    def output_tokens_within(self, limit: Nano) -> int:
        """Return the most output tokens, for each choice, with which the ceiling is at most *limit*.

        Never more than the bound or the model has; 0 also when the input alone costs more, so check that ceiling.
        """
        bound = self._bound
        if not self._lines:
            return _output_tokens(None, bound)
        within = [line.output_tokens_within(limit, _output_tokens(line.price, bound)) for line in self._lines]
        return max(0, min(within))

    def _at(self, line: CeilingLine, output_tokens: int) -> Ceiling:
        return Ceiling(min(NANO_MAX, line.at(output_tokens)), line.price.id)


def _output_tokens(price: Price | None, bound: Bound) -> int:
    if bound.output_tokens is not None:
        return bound.output_tokens
    return (price.output_tokens_max if price else None) or OUTPUT_TOKENS_DEFAULT


def _most(price: Price, bound: Bound) -> Usage:
    """Return the most that a call within *bound* can use of the model that *price* is for, but for its output.

    Of its output there is as much as says whether some of it may be audio or images.
    """
    input_tokens = bound.inputs * CONTEXT_TOKENS_DEFAULT if bound.fills_context else bound.input_tokens
    input_tokens = min(input_tokens, bound.inputs * (price.context_tokens_max or input_tokens))
    tokens = {
        "input_tokens": input_tokens,
        "cache_write_12h_tokens": input_tokens if bound.keeps_cache else 0,
        "input_audio_tokens": input_tokens if bound.hears else 0,
        "input_image_tokens": input_tokens if bound.sees else 0,
        "output_audio_tokens": 1 if bound.speaks else 0,
        "output_image_tokens": 1 if bound.draws else 0,
    }
    return Usage(**tokens) if bound.units == NO_USAGE else bound.units._replace(**tokens)


def _warn_of_overrides(known: Sequence[Price], new: Sequence[Price]) -> None:
    """Say which of the *new* prices there is a price of an operator's for, among those that were *known* before."""
    before, after, now = Book(known), Book([*known, *new]), utc_now()
    for price in new:
        asked = price.model.removesuffix("*"), price.service_tier, max(now, price.valid_from)
        own, counts = before.find(*asked), after.find(*asked)
        if own is None or own.source != OPERATOR_SOURCE or own.model == "*":
            continue
        if own == counts and (own.model, own.service_tier) == (price.model, price.service_tier):
            advice = "your own price goes on being charged; withdraw that to be charged by this one"
        elif price == counts:
            advice = f"it is for a more exact name or tier than yours, {own.id}, and is charged; add your own for that"
        else:
            continue
        _log.warning("price_shipped_for_override", price_id=price.id, advice=advice)


def _read(price_id: str, document: dict[str, Any]) -> Price:
    try:
        return price_from_row(document, price_id)
    except ValueError as error:
        raise ValueError(f"price {price_id}: {error}") from None
