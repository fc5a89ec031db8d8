"""What the ledger says that an upstream cost on one day: its side of a comparison with that upstream's own bill."""

from datetime import UTC, date, datetime, time

from app.core.db import Database
from app.ledger import day_repository as repository
from app.ledger.repository import allow_long_read
from app.ledger.spans import LENGTHS, Span


class DayCostService:
    """Adds up entries; raises DatabaseUnavailable when PostgreSQL is away or too busy."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def sum_by_model(self, upstream: str, day: date) -> dict[str, int]:
        """Return what the calls to *upstream* that were settled on *day*, in UTC, cost: nano-dollars by model.

        Estimates, corrections and calls that were charged at their ceiling count like any other entry.
        """
        begin = datetime.combine(day, time(), UTC)
        async with self._db.long_transaction() as tx:
            await allow_long_read(tx)
            return await repository.sum_cost_by_model(tx, upstream, Span(begin, begin + LENGTHS["day"]))
