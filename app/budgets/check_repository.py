"""Compares the windows of budgets with the ledger and the open reservations: one statement, so one moment."""

from typing import Final

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.budgets.check import WindowDrift
from app.budgets.models import BudgetRow

# A call is settled into the window in which it was reserved, so windows are looked at for a day after they ended; and
# no entry of theirs is older than the first of them begins.
_DRIFT: Final = """
WITH looked_at AS MATERIALIZED (
    SELECT id, budget_id, starts_at, coalesce(opening_nano, 0) AS opening_nano, spent_nano, reserved_nano,
        withheld_nano
    FROM budget_windows WHERE ends_at IS NULL OR ends_at > now() - interval '1 day'
), charged AS (
    SELECT window_id, sum(cost_nano)::bigint AS nano,
        (sum(greatest(0, CASE WHEN 'correction' = ANY (flags) THEN -cost_nano ELSE ceiling_nano - cost_nano END))
            FILTER (WHERE 'withheld' = ANY (flags)))::bigint AS withheld
    FROM ledger_entries, unnest(budget_window_ids) AS window_id
    WHERE settled_at >= (SELECT min(starts_at) - interval '1 minute' FROM looked_at) GROUP BY window_id
), held AS (
    SELECT window_id, sum(ceiling_nano)::bigint AS nano FROM reservations, unnest(budget_window_ids) AS window_id
    GROUP BY window_id
)
SELECT id, budget_id, starts_at, spent_nano, opening_nano + coalesce(charged.nano, 0), reserved_nano,
    coalesce(held.nano, 0), withheld_nano, coalesce(charged.withheld, 0)
FROM looked_at LEFT JOIN charged ON charged.window_id = id LEFT JOIN held ON held.window_id = id
WHERE spent_nano <> opening_nano + coalesce(charged.nano, 0) OR reserved_nano <> coalesce(held.nano, 0)
    OR withheld_nano <> coalesce(charged.withheld, 0)
ORDER BY id LIMIT 100
"""
_STATEMENT_TIMEOUT_MS: Final = 600_000


async def try_to_be_only_checker(tx: AsyncConnection) -> bool:
    """Tell whether nobody else is checking; until *tx* ends nobody else is told so."""
    return bool(await tx.scalar(text("SELECT pg_try_advisory_xact_lock(hashtext('weir.budgets.check'))")))


async def list_zones(tx: AsyncConnection) -> list[str]:
    """Return the time zones of the budgets in force."""
    query = select(BudgetRow.time_zone).where(BudgetRow.archived_at.is_(None)).distinct()
    return list(await tx.scalars(query.order_by(BudgetRow.time_zone)))


async def find_drift(tx: AsyncConnection) -> list[WindowDrift]:
    """Return the windows that do not say what the ledger says, up to 100; reads the entries of their whole time."""
    await tx.execute(text(f"SET LOCAL statement_timeout = {_STATEMENT_TIMEOUT_MS}"))
    return [WindowDrift(*row) for row in await tx.execute(text(_DRIFT))]
