"""Reservations and heartbeats in PostgreSQL. Bare asyncpg: these statements run for every call, in groups."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import orjson

from app.budgets.reservation import Hold, Reservation
from app.core.db import HotConnection

_COLUMNS: Final = ", ".join(Reservation._fields)

# A batch in one statement, as one JSON text. A reservation that is there already is left alone, so that a batch whose
# commit was not acknowledged can be sent again.
_INSERT: Final = f"""
INSERT INTO reservations ({_COLUMNS})
SELECT {_COLUMNS} FROM json_populate_recordset(NULL::reservations, ($1::text)::json) ON CONFLICT (id) DO NOTHING
"""  # noqa: S608 - made of constants

# Whoever deletes the row has the right to charge for it, and nobody else: that is what makes a settlement happen once.
_TAKE: Final = "DELETE FROM reservations WHERE id = ANY($1) RETURNING id, ceiling_nano, budget_window_ids"

_OPEN: Final = "SELECT id FROM reservations WHERE process_id = $1"

# The same for the reservations of processes whose heartbeat is older than $1 seconds by the database's clock. Rows
# that somebody else is taking at this moment are theirs; two sweepers never wait for each other.
_SWEEP: Final = f"""
DELETE FROM reservations WHERE id IN (
    SELECT reservations.id FROM reservations LEFT JOIN processes ON processes.id = process_id
    WHERE heartbeat_at IS NULL OR heartbeat_at < now() - make_interval(secs => $1)
    LIMIT $2 FOR UPDATE OF reservations SKIP LOCKED
) RETURNING {_COLUMNS}
"""  # noqa: S608 - made of constants

_BEAT: Final = """
INSERT INTO processes (id, heartbeat_at) VALUES ($1, now())
ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at
"""

# A process is forgotten once it is dead and has nothing left to sweep.
_FORGET: Final = """
DELETE FROM processes WHERE heartbeat_at < now() - make_interval(secs => $1)
AND NOT EXISTS (SELECT FROM reservations WHERE process_id = processes.id)
"""


async def insert_reservations(connection: HotConnection, reservations: Sequence[Reservation]) -> None:
    """Add *reservations* in one statement."""
    if not reservations:
        return
    rows = orjson.dumps([reservation._asdict() for reservation in reservations], default=str).decode()
    await connection.execute(_INSERT, rows)


async def take_reservations(connection: HotConnection, ids: Sequence[UUID]) -> dict[UUID, Hold]:
    """Delete those of *ids* that are open and return what each held."""
    return {row[0]: Hold(row[1], tuple(row[2])) for row in await connection.fetch(_TAKE, ids)}


async def take_orphans(connection: HotConnection, lease_seconds: float, limit: int) -> list[Reservation]:
    """Delete up to *limit* reservations of processes that are dead, and return them."""
    rows = await connection.fetch(_SWEEP, lease_seconds, limit)
    return [Reservation(*row)._replace(budget_window_ids=tuple(row["budget_window_ids"])) for row in rows]


async def find_open(connection: HotConnection, process_id: UUID) -> list[UUID]:
    """Return the ids of the open reservations of one process."""
    return [row[0] for row in await connection.fetch(_OPEN, process_id)]


async def beat(connection: HotConnection, process_id: UUID) -> None:
    """Say that the process is alive now."""
    await connection.execute(_BEAT, process_id)


async def forget_dead_processes(connection: HotConnection, lease_seconds: float) -> None:
    """Delete dead processes that hold nothing."""
    await connection.execute(_FORGET, lease_seconds)


async def delete_process(connection: HotConnection, process_id: UUID) -> None:
    """Delete a process that has settled everything and ends."""
    await connection.execute("DELETE FROM processes WHERE id = $1", process_id)
