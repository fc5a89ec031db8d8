"""Which price applies to a model at a moment: an immutable book, looked up in memory on the hot path. Pure."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import ge
from typing import Any, Final

from app.core.money import Nano
from app.prices.rates import Rates

SERVICE_TIERS: Final = ("default", "flex", "priority", "ultrafast", "batch")
"""The tiers a price can be for. `fast` is another name of `priority`; `auto` and `scale` cost what `default` does."""
OPERATOR_SOURCE: Final = "operator"
"""The `source` of a price entered by hand; it beats a shipped one, however new that is, until it is withdrawn."""

_TIER_ALIASES: Final = {"": "default", "auto": "default", "scale": "default", "fast": "priority"}
_CHEAPER_TIERS: Final = frozenset({"default", "flex", "batch"})
_UNSAID: Final = frozenset({None, "", "auto"})
"""A request that says this is processed in the tier that the upstream's project settings name."""
_ANY_MODEL: Final = "*"


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs in one service tier from `valid_from` (aware, UTC) on."""

    id: str
    model: str
    """An exact name, or a prefix followed by `*`."""
    service_tier: str
    valid_from: datetime
    rates: Rates
    long_context_above: int | None
    """With more input tokens than this, every token of the call is billed at `long_context_rates`."""
    long_context_rates: Rates | None
    per_request: Nano
    """Owed once for each call, whatever it used."""
    context_tokens_max: int | None
    """What fits into the model; for embeddings, into one of the inputs."""
    output_tokens_max: int | None
    source: str
    unpriced_tools: tuple[str, ...]
    """Those of `TOOL_DIMENSIONS` that no rate was given for, not even 0."""
    is_withdrawal: bool = False
    """An operator's word that from `valid_from` on there is no price of theirs: a shipped one counts again."""

    def is_for(self, service_tier: str | None) -> bool:
        """Return whether this is *service_tier*'s own price, and not one that stands in for it."""
        return self.service_tier == _canonical(service_tier)

    @property
    def dearness(self) -> tuple[int, int]:
        """Orders the tiers of one model by price."""
        rates = self.long_context_rates or self.rates
        return (sum(rates), sum(self.rates))


_Asked = tuple[str, str | None, int]
"""A model, a tier, and how many moments at which some price begins to be valid have passed."""
_AskedFirst = tuple[tuple[str, ...], tuple[str, ...], str | None, int]
"""Likewise, of several models, and of variants of them."""
_REMEMBERED_MAX: Final = 10_000
_Tiers = dict[str, tuple[Price, ...]]


class Book:
    """Every known price, immutable. What was looked up before is remembered until a price begins to be valid."""

    __slots__ = ("_exact", "_first", "_found", "_moments", "_possible", "_prefix_lengths", "_prefixes")

    def __init__(self, prices: Sequence[Price] = ()) -> None:
        self._exact: dict[str, _Tiers] = {}
        self._prefixes: dict[str, _Tiers] = {}
        # Ascending, so that the last is the one that `_newest` meets first.
        for price in sorted(prices, key=_precedence):
            if price.model.endswith("*"):
                tiers = self._prefixes.setdefault(price.model[:-1], {})
            else:
                tiers = self._exact.setdefault(price.model, {})
            tiers[price.service_tier] = (price, *tiers.get(price.service_tier, ()))
        self._prefix_lengths = sorted({len(prefix) for prefix in self._prefixes}, reverse=True)
        self._moments = sorted({price.valid_from for price in prices})
        self._found: dict[_Asked, Price | None] = {}
        self._first: dict[_AskedFirst, Price | None] = {}
        self._possible: dict[_Asked, Sequence[Price]] = {}

    def models(self, at: datetime) -> list[str]:
        """Return every model, and pattern of models, that has a price at the aware moment *at*.

        A quality or size of one, as in `m/hd`, is none.
        """
        exact = _priced_names(self._exact, at)
        own = [name for name in exact if "/" not in name or name.partition("/")[0] not in exact]
        return [*own, *(f"{prefix}*" for prefix in _priced_names(self._prefixes, at))]

    def find(self, model: str, service_tier: str | None, at: datetime) -> Price | None:
        """Return the price of *model* in *service_tier* (None is `default`) at the aware moment *at*, or None.

        The exact name beats the longest pattern; then, of what is valid at *at*, an operator's price beats a shipped
        one, and a newer an older one. A tier without a price of its own never gets cheaper by it: `flex` and `batch`
        cost what `default` does, any other tier (also one that is unknown here) what the model's dearest tier does.
        `Price.is_for` tells the two cases apart.
        """
        asked = (model, service_tier, bisect_right(self._moments, at))
        if asked not in self._found:
            _make_room(self._found)
            tier = _canonical(service_tier)
            prices = (_choose(tiers, tier, at) for tiers in self._priced(model, tier, at))
            self._found[asked] = next(filter(None, prices), None)
        return self._found[asked]

    def find_first(
        self, models: Sequence[str], service_tier: str | None, at: datetime, variants: Sequence[str] = ()
    ) -> Price | None:
        """Return the price of the first of *models* that has one, of several names for what was called.

        Before it counts one of their *variants*, such as `m/hd` or `m/*` for `hd` of `m`; a pattern for `m` itself, or
        for more, is none. An operator's price for any of them beats a shipped one, and a price for every model (`*`)
        is the last resort. One that only stands in for the tier gives way to a dearer one of another name for the tier
        itself: the dated name of a model may have fewer prices than its plain one.
        """
        asked = (tuple(models), tuple(variants), service_tier, bisect_right(self._moments, at))
        if asked not in self._first:
            _make_room(self._first)
            of_variants = [
                price
                for model in models
                for variant in variants
                if (price := self.find(f"{model}/{variant}", service_tier, at)) and price.model.startswith(f"{model}/")
            ]
            of_models = [price for model in models if (price := self.find(model, service_tier, at))]
            first = min([*of_variants, *of_models], key=_remoteness, default=None)
            if first is not None and not first.is_for(service_tier):
                remoteness = _remoteness(first)
                of_tier = [each for each in of_models if each.is_for(service_tier) and _remoteness(each) == remoteness]
                first = max(first, *of_tier, key=lambda price: price.dearness) if of_tier else first
            self._first[asked] = first
        return self._first[asked]

    def find_possible(self, model: str, service_tier: str | None, at: datetime) -> Sequence[Price]:
        """Return the prices that a request for *service_tier* may be charged by, none for an unpriced model.

        One that another of them is never below is left out, as no call can cost the most by it. Without a tier, or with
        `auto`, the upstream's settings decide, and it may be any; a dearer one that has no capacity left is served as
        `default`.
        """
        asked = (model, service_tier, bisect_right(self._moments, at))
        if asked not in self._possible:
            _make_room(self._possible)
            self._possible[asked] = self._find_possible(model, service_tier, at)
        return self._possible[asked]

    def _find_possible(self, model: str, service_tier: str | None, at: datetime) -> Sequence[Price]:
        tier = _canonical(service_tier)
        names = {tier} if tier in _CHEAPER_TIERS else {tier, "default"}
        for tiers in self._priced(model, tier, at):
            if service_tier in _UNSAID:
                names = set(tiers)
            if possible := [price for name in sorted(names) if (price := _choose(tiers, name, at))]:
                return _dearest(possible)
        return []

    def _priced(self, model: str, tier: str, at: datetime) -> list[_Tiers]:
        """Return the names and patterns that match, those first that can price *tier* without another one's price.

        Else a price for `flex` alone, of a name whose other tiers a pattern prices, would be charged for all of them.
        """
        return sorted(
            self._matching(model),
            key=lambda tiers: not any(_newest(tiers.get(name, ()), at) for name in (tier, "default")),
        )

    def _matching(self, model: str) -> Iterator[_Tiers]:
        if tiers := self._exact.get(model):
            yield tiers
        for length in self._prefix_lengths:
            # A name shorter than the prefix is cut to itself and cannot be that long a key.
            if tiers := self._prefixes.get(model[:length]):
                yield tiers


def _priced_names(priced: dict[str, _Tiers], at: datetime) -> dict[str, None]:
    return dict.fromkeys(name for name, tiers in priced.items() if any(_newest(rows, at) for rows in tiers.values()))


def _make_room(remembered: dict[Any, Any]) -> None:
    """Forget everything when it is too much: models and tiers are names that callers choose."""
    if len(remembered) >= _REMEMBERED_MAX:
        remembered.clear()


def _canonical(service_tier: str | None) -> str:
    tier = service_tier or ""
    return _TIER_ALIASES.get(tier, tier)


def _precedence(price: Price) -> tuple[bool, datetime, str, str]:
    return (price.source == OPERATOR_SOURCE, price.valid_from, price.source, price.id)


def _remoteness(price: Price) -> int:
    if price.model == _ANY_MODEL:
        return 2
    return 0 if price.source == OPERATOR_SOURCE else 1


def _choose(tiers: _Tiers, tier: str, at: datetime) -> Price | None:
    if own := _newest(tiers.get(tier, ()), at):
        return own
    if tier in _CHEAPER_TIERS and (default := _newest(tiers.get("default", ()), at)):
        return default
    valid = [price for rows in tiers.values() if (price := _newest(rows, at))]
    return max(valid, key=lambda price: price.dearness, default=None)


def _dearest(prices: list[Price]) -> list[Price]:
    """Return *prices* without those that another one is never below, whatever a call uses."""
    dearest: list[Price] = []
    for price in prices:
        if not any(_is_never_below(other, price) for other in dearest):
            dearest = [other for other in dearest if not _is_never_below(price, other)]
            dearest.append(price)
    return dearest


def _is_never_below(one: Price, other: Price) -> bool:
    """Tell whether the ceiling of no call is lower by *one* than by *other*."""
    if _extent(one) != _extent(other) or one.per_request < other.per_request:
        return False
    own = (*one.rates, *(one.long_context_rates or ()))
    others = (*other.rates, *(other.long_context_rates or ()))
    return all(map(ge, own, others))


def _extent(price: Price) -> tuple[int | None, ...]:
    return price.context_tokens_max, price.output_tokens_max, price.long_context_above


def _newest(prices: tuple[Price, ...], at: datetime) -> Price | None:
    is_withdrawn = False
    for price in prices:
        if price.valid_from > at or (is_withdrawn and price.source == OPERATOR_SOURCE):
            continue
        if not price.is_withdrawal:
            return price
        is_withdrawn = True
    return None
