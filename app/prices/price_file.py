"""Reads prices as `app/prices/prices.json`, the database and the admin API write them. Pure; never guesses."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from app.core.money import Nano
from app.prices.book import OPERATOR_SOURCE, SERVICE_TIERS, Price
from app.prices.rates import TOOL_DIMENSIONS, Rates, nano_from_usd_text, rates_from_usd

FIELDS: Final = (
    "model",
    "service_tier",
    "valid_from",
    "rates",
    "long_context",
    "per_unit_usd",
    "per_request_usd",
    "context_tokens_max",
    "output_tokens_max",
    "source",
    "withdrawn",
)
"""Of a row, in the order in which they are written."""
_OF_WITHDRAWAL: Final = frozenset({"model", "service_tier", "valid_from", "source", "withdrawn"})
_MODEL = re.compile(r"[^\s*]+\*?|\*")


def parse_prices(document: bytes | Mapping[str, Any]) -> tuple[str, list[Price]]:
    """Return the version and the prices of a price file, in its order.

    Raises ValueError naming the row and the field for what is missing, unknown, of the wrong kind or there twice.
    """
    content = _mapping(document if isinstance(document, Mapping) else json.loads(document), "price file")
    version, rows = _text(content, "version"), content.get("prices")
    if not isinstance(rows, list):
        raise ValueError("prices: must be a list")  # noqa: TRY004
    prices: dict[str, Price] = {}
    for number, row in enumerate(rows):
        try:
            price = price_from_row(row)
        except ValueError as error:
            model = row.get("model") if isinstance(row, Mapping) else None
            raise ValueError(f"prices[{number}] ({model}): {error}") from None
        if price.id in prices:
            raise ValueError(f"prices[{number}] ({price.model}): is there twice, as {price.id}")
        prices[price.id] = price
    return version, list(prices.values())


def price_from_row(row: Mapping[str, Any], price_id: str | None = None) -> Price:
    """Return the price that *row* describes; its id is *price_id*, or made of what identifies the row.

    Raises ValueError naming the field that is missing, unknown or of the wrong kind.
    """
    if unknown := sorted(set(_mapping(row, "price")).difference(FIELDS)):
        raise ValueError(f"{unknown[0]}: is not a field of a price")
    model, tier, source = _text(row, "model"), _text(row, "service_tier"), _text(row, "source")
    if not _MODEL.fullmatch(model):
        raise ValueError(f"model: must be a name without spaces, with at most one `*`, at its end, not {model!r}")
    if tier not in SERVICE_TIERS:
        raise ValueError(f"service_tier: must be one of {', '.join(SERVICE_TIERS)}, not {tier!r}")
    valid_from = _moment(_text(row, "valid_from"))
    per_million, per_unit = _object(row, "rates"), _object(row, "per_unit_usd")
    is_withdrawal = _is_withdrawal(row, source)
    rates = rates_from_usd({"input": "0"} if is_withdrawal else per_million, per_unit)
    above, long_rates = _long_context(row, per_million, per_unit)
    # Of a price and its withdrawal from the same moment on, the id of the second comes later, and so that counts.
    kind = "/withdrawn" if is_withdrawal else ""
    return Price(
        id=price_id or f"{model}/{tier}/{valid_from.isoformat()}/{source}{kind}",
        model=model,
        service_tier=tier,
        valid_from=valid_from,
        rates=rates,
        long_context_above=above,
        long_context_rates=long_rates,
        per_request=_per_request(row),
        context_tokens_max=_limit(row, "context_tokens_max"),
        output_tokens_max=_limit(row, "output_tokens_max"),
        source=source,
        unpriced_tools=_unpriced_tools(per_unit),
        is_withdrawal=is_withdrawal,
    )


def _is_withdrawal(row: Mapping[str, Any], source: str) -> bool:
    value = row.get("withdrawn", False)
    if not isinstance(value, bool):
        raise ValueError("withdrawn: must be true or false")  # noqa: TRY004
    if value and (source != OPERATOR_SOURCE or not _OF_WITHDRAWAL.issuperset(row)):
        raise ValueError("withdrawn: stands alone, without any amounts, beside a model, a tier and a date")
    return value


def _unpriced_tools(per_unit: Mapping[str, Any]) -> tuple[str, ...]:
    priced = {*per_unit, "web_search_previews"} if "web_searches" in per_unit else set(per_unit)
    return tuple(name for name in TOOL_DIMENSIONS if name not in priced)


def _long_context(
    row: Mapping[str, Any], per_million: Mapping[str, Any], per_unit: Mapping[str, Any]
) -> tuple[int | None, Rates | None]:
    if "long_context" not in row:
        return None, None
    long_context = _object(row, "long_context")
    if unknown := sorted(set(long_context) - {"above_input_tokens", "rates"}):
        raise ValueError(f"long_context.{unknown[0]}: is not a field of a long context")
    try:
        above, rates = _limit(long_context, "above_input_tokens"), _object(long_context, "rates")
        # What is not dearer in a long context is not repeated there.
        long_rates = rates_from_usd({**per_million, **rates}, per_unit)
    except ValueError as error:
        raise ValueError(f"long_context.{error}") from None
    if above is None or not rates:
        raise ValueError("long_context: needs both above_input_tokens and rates")
    return above, long_rates


def _per_request(row: Mapping[str, Any]) -> Nano:
    try:
        return Nano(nano_from_usd_text(row.get("per_request_usd", "0")))
    except ValueError as error:
        raise ValueError(f"per_request_usd: {error}") from None


def _text(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{field}: must be a string")
    return value


def _object(row: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    return _mapping(row.get(field, {}), field)


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: must be an object")  # noqa: TRY004
    return value


def _limit(row: Mapping[str, Any], field: str) -> int | None:
    value = row.get(field)
    if value is None:
        return None
    if type(value) is not int or value <= 0:
        raise ValueError(f"{field}: must be a positive whole number, not {value!r}")
    return value


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"valid_from: must be a date or a time (RFC 3339), not {text!r}") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
