"""Budgets and their windows in PostgreSQL, as the hot path reads and moves them. Bare asyncpg.

Whoever changes several windows locks them in the order of their ids first, so that no two can wait for each other.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from app.budgets.budget import Budget, ScopeKey
from app.budgets.periods import Span
from app.budgets.reservation import Moves
from app.core.db import HotConnection

# The version is counted up by everybody who changes a budget; now() is the one clock of all replicas.
_VERSION: Final = "SELECT version, now() FROM budget_versions"

_COLUMNS: Final = (
    "id, name, scope, scope_id, model, period, time_zone, limit_nano, mode, paused_at IS NOT NULL, created_at"
)
# No row is equal to a scope without an id: the organization's are the first part's.
_BUDGETS: Final = f"""
SELECT {_COLUMNS} FROM budgets WHERE archived_at IS NULL AND scope = 'organization' AND scope = ANY($1::text[])
UNION ALL
SELECT {_COLUMNS} FROM unnest($1::text[], $2::text[]) AS asked(scope, scope_id) JOIN budgets USING (scope, scope_id)
WHERE archived_at IS NULL
ORDER BY id
"""  # noqa: S608 - made of constants

# Somebody else may be making the same window: then theirs is waited for, and the second statement finds it.
_MAKE: Final = """
INSERT INTO budget_windows (budget_id, starts_at, ends_at, opening_nano)
SELECT budget_id, starts_at, ends_at, 0
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) AS new(budget_id, starts_at, ends_at)
ORDER BY budget_id, starts_at
ON CONFLICT (budget_id, starts_at) DO NOTHING
"""
_FIND: Final = """
SELECT budget_id, starts_at, id FROM budget_windows
WHERE (budget_id, starts_at) IN (SELECT * FROM unnest($1::text[], $2::timestamptz[]))
"""
_LOCK: Final = """
SELECT id, extra_nano, spent_nano, reserved_nano, withheld_nano FROM budget_windows
WHERE id = ANY($1) ORDER BY id FOR UPDATE
"""
# Locks are taken in the order of ids here too; a row that somebody else has moved meanwhile is moved on from there.
_MOVE: Final = """
WITH locked AS MATERIALIZED (SELECT id FROM budget_windows WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE)
UPDATE budget_windows SET reserved_nano = reserved_nano + move.reserved, spent_nano = spent_nano + move.spent,
    withheld_nano = withheld_nano + move.withheld
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS move(id, reserved, spent, withheld), locked
WHERE budget_windows.id = move.id AND budget_windows.id = locked.id
"""


class Balance(NamedTuple):
    """The amounts in one window's row, in nano-dollars."""

    id: int
    extra_nano: int
    spent_nano: int
    reserved_nano: int
    withheld_nano: int


async def get_version(connection: HotConnection) -> tuple[int, datetime]:
    """Return the version of the budgets, and the database's time."""
    version, now = await connection.fetchrow(_VERSION)
    return version, now


async def read_budgets(connection: HotConnection, scopes: Collection[ScopeKey]) -> list[Budget]:
    """Return the budgets of *scopes* that are not archived."""
    names, ids = zip(*scopes, strict=True)
    return [Budget(*row) for row in await connection.fetch(_BUDGETS, names, ids)]


async def make_windows(connection: HotConnection, spans: Sequence[tuple[str, Span]]) -> dict[tuple[str, datetime], int]:
    """Make the windows of these (budget id, span) that are not there yet; return the ids of all, by id and start."""
    budget_ids = [budget_id for budget_id, _ in spans]
    starts = [span.starts_at for _, span in spans]
    await connection.execute(_MAKE, budget_ids, starts, [span.ends_at for _, span in spans])
    return {(row[0], row[1]): row[2] for row in await connection.fetch(_FIND, budget_ids, starts)}


async def lock_windows(connection: HotConnection, ids: Iterable[int]) -> list[Balance]:
    """Lock these windows until the transaction ends, and return what is in them."""
    return [Balance(*row) for row in await connection.fetch(_LOCK, list(ids))]


async def move(connection: HotConnection, moves: Moves) -> None:
    """Lock the windows of *moves* until the transaction ends, and move them."""
    if moves:
        await connection.execute(_MOVE, list(moves), *zip(*moves.values(), strict=True))
