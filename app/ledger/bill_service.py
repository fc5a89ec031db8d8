"""Answers what was used and what it cost, to the nano-dollar and up to the last entry that is committed."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

from app.core.clock import Clock
from app.core.db import Database
from app.ledger import bill_repository as repository
from app.ledger import costs_csv
from app.ledger.bill import BillPage, BillQuery, Bucket, cursor_of, spans_of_page, whole_spans
from app.ledger.rollup_service import RollupService
from app.ledger.spans import LENGTHS, Span, floor

_CSV_ROWS: Final = 5_000
_GROUPS_MAX: Final = 10_000
_FIRST: Final[tuple[str, ...]] = ("",) * 5
"""Comes before the key of every row, as no project's id is empty."""


class BillService:
    """Reads the bill; every method raises DatabaseUnavailable when PostgreSQL is away or too busy."""

    def __init__(self, db: Database, rollups: RollupService, clock: Clock) -> None:
        self._db = db
        self._rollups = rollups
        self._clock = clock

    async def get_page(self, query: BillQuery, page: str | None, limit: int) -> BillPage:
        """Return up to *limit* buckets from the cursor *page* on, empty ones included; raises InvalidRequest.

        Fewer, but one with any sums at least, where they have very many: to write them all down would stop other calls.
        """
        end = query.end or floor(self._clock(), query.width) + LENGTHS[query.width]
        spans, next_page = spans_of_page(Span(query.begin, end), query.width, page, limit)
        if not spans:  # none has begun
            return BillPage([], None)
        await self._rollups.roll_up()
        async with self._db.transaction() as tx:
            groups = await repository.sum_groups(tx, query, Span(spans[0].begin, spans[-1].end), _GROUPS_MAX + 1)
            if len(groups) > _GROUPS_MAX:
                whole = whole_spans(spans, groups, query.width)
                next_page = next_page if len(whole) == len(spans) else cursor_of(whole[-1].end)
                spans = whole
                groups = await repository.sum_groups(tx, query, Span(spans[0].begin, spans[-1].end))
        buckets = {floor(span.begin, query.width): Bucket(span, []) for span in spans}
        for group in groups:
            buckets[group.starts_at].groups.append(group)
        return BillPage(list(buckets.values()), next_page)

    async def export_costs(self, begin: datetime, end: datetime | None) -> AsyncIterator[bytes]:
        """Return the costs of the days from *begin* on and before *end* as pieces of CSV.

        No connection is held between two pieces, however slow their reader is: each is read by the key of the last row.
        """
        await self._rollups.roll_up()
        span = Span(begin, end or floor(self._clock(), "day") + LENGTHS["day"])
        async with self._db.transaction() as tx:
            days = await repository.find_cost_days(tx, span)
        return self._csv(days)

    async def _csv(self, days: Sequence[datetime]) -> AsyncIterator[bytes]:
        yield costs_csv.header()
        for day in days:
            after = _FIRST
            while True:
                async with self._db.transaction() as tx:
                    rows = await repository.find_cost_rows(tx, day, after, _CSV_ROWS)
                yield costs_csv.rows(day, rows)
                if len(rows) < _CSV_ROWS:
                    break
                after = rows[-1].key
