"""Rollups in PostgreSQL: made from the ledger's entries, never the other way round."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    SQLColumnExpression,
    Subquery,
    and_,
    any_,
    case,
    delete,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.ledger.models import LedgerEntry
from app.ledger.rollup_models import ledger_changes, usage_rollups
from app.ledger.spans import LENGTHS, Span, Width, aligned
from app.ledger.usage_sum import (
    COLUMNS_OF_ENTRIES,
    COST,
    DIMENSIONS,
    MEASURES,
    REQUESTS,
    UNANSWERED,
    UNANSWERED_OUTCOMES,
)

_COLUMNS: Final = ("starts_at", *DIMENSIONS, *MEASURES)
_DRIFTS_MAX: Final = 100

# One statement, and so one snapshot: a mark that is committed while this runs is not seen, not deleted, and its minute
# is done again by the next roll-up. The entries are read after this, so that they include those of every mark taken.
# Only the oldest marks are looked at: after a while without a roll-up there may be very many.
_TAKE: Final = text("""
WITH oldest AS MATERIALIZED (SELECT id, minute FROM ledger_changes ORDER BY id LIMIT :marks_max), taken AS (
    DELETE FROM ledger_changes WHERE id = ANY(ARRAY(
        SELECT id FROM oldest
        WHERE minute IN (SELECT DISTINCT minute FROM oldest ORDER BY minute LIMIT :minutes_max)
    )) RETURNING minute
)
SELECT DISTINCT minute, (SELECT count(*) FROM oldest) AS marks FROM taken
""")
_MARKS_MAX: Final = 2_000


class Drift(NamedTuple):
    """A group of entries whose rollup says something else: `missing` is entries minus rollup, where that is not 0."""

    width: Width
    starts_at: datetime
    group: dict[str, str | None]
    missing: dict[str, int]


async def lock_rollups(tx: AsyncConnection) -> None:
    """Be the only one who rolls up, until *tx* ends."""
    await tx.execute(text("SELECT pg_advisory_xact_lock(hashtext('weir.ledger.rollups'))"))


async def take_changed_minutes(tx: AsyncConnection, minutes_max: int) -> tuple[list[datetime], bool]:
    """Delete marks of up to *minutes_max* minutes; return those minutes, and whether there may be more marks.

    The lock must be held.
    """
    taken = (await tx.execute(_TAKE, {"minutes_max": minutes_max, "marks_max": _MARKS_MAX})).all()
    return [row.minute for row in taken], len(taken) == minutes_max or any(row.marks == _MARKS_MAX for row in taken)


async def make_rollups(tx: AsyncConnection, spans: Sequence[Span]) -> None:
    """Make the rollups of the minutes in *spans* anew, and of the hours and days they are in; the lock must be held."""
    minutes, hours, days = (aligned(spans, width) for width in LENGTHS)
    await _replace(tx, "minute", minutes, entry_rows(*minutes))
    await _replace(tx, "hour", hours, rollup_rows("minute", *hours))
    await _replace(tx, "day", days, rollup_rows("hour", *days))


async def find_drift(tx: AsyncConnection, width: Width, span: Span) -> list[Drift]:
    """Return the first groups of *span*'s whole minutes, hours or days in which rollups and entries differ.

    Those that have entries which no roll-up has seen are left out: one statement sees entries and marks alike. Of calls
    that perhaps no model answered the names are not compared: older versions had them in groups of their own.
    """
    entries, rollups = entry_rows(span).subquery(), rollup_rows(width, span).subquery()
    dimensions: list[ColumnElement[Any]] = [literal_column(name) for name in DIMENSIONS]
    both = union_all(
        select(
            truncated(width, entries.c.starts_at).label("starts_at"),
            *_compared(entries),
            *(entries.c[name] for name in MEASURES),
        ),
        select(rollups.c.starts_at, *_compared(rollups), *(-rollups.c[name] for name in MEASURES)),
    ).subquery()
    missing = [func.sum(both.c[name]) for name in MEASURES]
    query = (
        select(both.c.starts_at, *dimensions, *missing)
        .where(both.c.starts_at.not_in(select(truncated(width, ledger_changes.c.minute))))
        .group_by(both.c.starts_at, *dimensions)
        .having(or_(*(total != 0 for total in missing)))
        .order_by(both.c.starts_at, *dimensions)
        .limit(_DRIFTS_MAX)
    )
    return [_drift(width, tuple(row)) for row in await tx.execute(query)]


def entry_rows(*spans: Span) -> Select[Any]:
    """Select the entries settled in *spans*, with the columns of rollups; `starts_at` is when each was settled."""
    measures: dict[str, SQLColumnExpression[Any]] = {
        # A correction is the second entry of an attempt that is counted already.
        REQUESTS: case((literal("correction") == any_(LedgerEntry.flags), 0), else_=1),
        COST: LedgerEntry.cost_nano,
    }
    for name in MEASURES:
        if name in COLUMNS_OF_ENTRIES:
            measures[name] = getattr(LedgerEntry, name)
        elif name not in measures:
            measures[name] = func.coalesce(LedgerEntry.other_units[name].astext.cast(BigInteger), 0)
    dimensions: list[ColumnElement[Any]] = [_dimension(name).label(name) for name in DIMENSIONS]
    columns = [
        LedgerEntry.settled_at.label("starts_at"),
        *dimensions,
        *(measures[name].label(name) for name in MEASURES),
    ]
    return select(*columns).where(_within(LedgerEntry.settled_at, spans))


def rollup_rows(width: Width, *spans: Span) -> Select[Any]:
    """Select the rollups of *width* that begin in *spans*."""
    table = usage_rollups.c
    return select(*(table[name] for name in _COLUMNS)).where(table.width == width, _within(table.starts_at, spans))


def truncated(width: Width, moment: ColumnElement[datetime]) -> ColumnElement[datetime]:
    """Return the begin, in UTC, of the minute, hour or day that *moment* is in."""
    # Constants and not parameters, or PostgreSQL could not tell that two of these are the same expression.
    return func.date_trunc(literal_column(f"'{width}'"), moment, literal_column("'UTC'"))


async def _replace(tx: AsyncConnection, width: Width, spans: Sequence[Span], rows: Select[Any]) -> None:
    table = usage_rollups.c
    await tx.execute(delete(usage_rollups).where(table.width == width, _within(table.starts_at, spans)))
    source: Subquery = rows.subquery()
    group = [truncated(width, source.c.starts_at), *(source.c[name] for name in DIMENSIONS)]
    sums = select(literal_column(f"'{width}'"), *group, *(func.sum(source.c[name]) for name in MEASURES))
    await tx.execute(insert(usage_rollups).from_select(["width", *_COLUMNS], sums.group_by(*group)))


def _within(moment: SQLColumnExpression[datetime], spans: Sequence[Span]) -> ColumnElement[bool]:
    return or_(*(and_(moment >= span.begin, moment < span.end) for span in spans))


def _dimension(name: str) -> SQLColumnExpression[Any]:
    if name == "model":
        is_unanswered = and_(LedgerEntry.cost_nano == 0, LedgerEntry.outcome.in_(UNANSWERED_OUTCOMES))
        return func.coalesce(LedgerEntry.answered_model, case((is_unanswered, UNANSWERED), else_=LedgerEntry.model))
    column: SQLColumnExpression[Any] = getattr(LedgerEntry, name)
    return column


def _compared(rows: Subquery) -> list[ColumnElement[Any]]:
    """Return the dimensions of *rows*, with one name for the models of all that perhaps none answered."""
    model = case((rows.c.outcome.in_(UNANSWERED_OUTCOMES), UNANSWERED), else_=rows.c.model)
    return [(model if name == "model" else rows.c[name]).label(name) for name in DIMENSIONS]


def _drift(width: Width, row: tuple[Any, ...]) -> Drift:
    group = dict(zip(DIMENSIONS, row[1:], strict=False))
    missing = dict(zip(MEASURES, map(int, row[1 + len(DIMENSIONS) :]), strict=True))
    return Drift(width, row[0], group, {name: count for name, count in missing.items() if count})
