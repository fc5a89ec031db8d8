"""Sums of the ledger in PostgreSQL: out of rollups, and out of entries for what is less than a minute at either end."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, FromClause, false, func, literal_column, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.money import Nano
from app.ledger.bill import BATCH_TIER, IMAGE_SOURCES, BillQuery, Group
from app.ledger.rollup_models import usage_rollups
from app.ledger.rollup_repository import entry_rows, rollup_rows, truncated
from app.ledger.spans import Span, Width, cover
from app.ledger.usage_sum import MEASURES, UsageSum
from app.prices.usage import Usage

_WIDTHS: Final[Sequence[Width]] = ("day", "hour", "minute")
_COLUMN_OF: Final = {
    "project_id": "project_id",
    "user_id": "user_id",
    "api_key_id": "key_id",
    "model": "model",
    "line_item": "model",
    "service_tier": "service_tier",
    "source": "operation",
}
_CONSTANTS: Final = {"size": None, "api_source": "unlabeled"}
"""What the API lets callers group by and the ledger does not know: the same for all."""
_COST_KEYS: Final = ("project_id", "user_id", "key_id", "model", "service_tier")


class CostRow(NamedTuple):
    """What one project, user, key, model and tier used and cost on one day; absent users and tiers are empty."""

    key: tuple[str, ...]
    total: UsageSum


async def sum_groups(tx: AsyncConnection, query: BillQuery, span: Span, limit: int | None = None) -> list[Group]:
    """Return the sums of *query* over *span* alone, bucket after bucket; buckets without any are not there.

    Of more than *limit* the first.
    """
    rows = union_all(
        *(
            entry_rows(piece.span) if piece.width is None else rollup_rows(piece.width, piece.span)
            for piece in cover(span, _WIDTHS[_WIDTHS.index(query.width) :])
        )
    ).subquery()
    names = [name for name in query.group_by if name not in _CONSTANTS]
    keys = [truncated(query.width, rows.c.starts_at), *(_key(rows, name) for name in names)]
    statement = (
        select(*keys, *(func.sum(rows.c[name]) for name in MEASURES))
        .where(*_conditions(rows, query))
        .group_by(*keys)
        .order_by(*keys)
        .limit(limit)
    )
    same = {name: _CONSTANTS[name] for name in query.group_by if name in _CONSTANTS}
    return [_group(names, same, tuple(row)) for row in await tx.execute(statement)]


async def find_cost_days(tx: AsyncConnection, span: Span) -> list[datetime]:
    """Return the days of *span* on which anything was used, oldest first."""
    table = usage_rollups.c
    days = (
        select(table.starts_at)
        .distinct()
        .where(table.width == "day", table.starts_at >= span.begin, table.starts_at < span.end)
        .order_by(table.starts_at)
    )
    return [row[0] for row in await tx.execute(days)]


async def find_cost_rows(tx: AsyncConnection, day: datetime, after: tuple[str, ...], limit: int) -> list[CostRow]:
    """Return up to *limit* rows of *day* whose keys come after *after*, in order of their keys."""
    table = usage_rollups.c
    keys = [func.coalesce(table[name], literal_column("''")) for name in _COST_KEYS]
    rows = (
        select(*keys, *(func.sum(table[name]) for name in MEASURES))
        .where(table.width == "day", table.starts_at == day, tuple_(*keys) > tuple_(*after))
        .group_by(*keys)
        .order_by(*keys)
        .limit(limit)
    )
    count = len(_COST_KEYS)
    return [CostRow(tuple(row[:count]), _total(row[count:])) for row in await tx.execute(rows)]


def _key(rows: FromClause, name: str) -> ColumnElement[Any]:
    return _is_batch(rows) if name == "batch" else rows.c[_COLUMN_OF[name]]


def _is_batch(rows: FromClause) -> ColumnElement[bool]:
    # Constants, so that PostgreSQL sees that what is selected is what is grouped by.
    return func.coalesce(rows.c.service_tier == literal_column(f"'{BATCH_TIER}'"), false())


def _conditions(rows: FromClause, query: BillQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [rows.c[name].in_(values) for name, values in query.filters.items()]
    if query.operations is not None:
        conditions.append(rows.c.operation.in_(query.operations))
    if query.is_batch is not None:
        conditions.append(_is_batch(rows) == query.is_batch)
    return conditions


def _group(names: Sequence[str], same: dict[str, Any], row: tuple[Any, ...]) -> Group:
    starts_at, *rest = row
    key = {**dict(zip(names, rest, strict=False)), **same}
    if "source" in key:
        key["source"] = IMAGE_SOURCES[key["source"]]
    return Group(starts_at, key, _total(rest[len(names) :]))


def _total(sums: Sequence[Any]) -> UsageSum:
    requests, *counts, cost = map(int, sums)
    return UsageSum(requests, Usage(*counts), Nano(cost))
