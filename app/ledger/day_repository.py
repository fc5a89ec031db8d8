"""What one upstream cost, out of the ledger's entries: rollups do not tell upstreams apart."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.ledger.models import LedgerEntry
from app.ledger.spans import Span


async def sum_cost_by_model(tx: AsyncConnection, upstream: str, span: Span) -> dict[str, int]:
    """Return what calls to *upstream* settled in *span* cost, in nano-dollars by the model that answered.

    Models without costs are left out: callers can invent any number of names that the upstream then refuses.
    """
    model = func.coalesce(LedgerEntry.answered_model, LedgerEntry.model)
    cost = func.sum(LedgerEntry.cost_nano)
    query = (
        select(model, cost)
        .where(
            LedgerEntry.upstream == upstream,
            LedgerEntry.settled_at >= span.begin,
            LedgerEntry.settled_at < span.end,
        )
        .group_by(model)
        .having(cost != 0)
    )
    return {row[0]: int(row[1]) for row in await tx.execute(query)}
