"""Reservations and heartbeats in PostgreSQL. Bare asyncpg: these statements run for every call, in groups."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import orjson

from app.budgets.reservation import Hold, Moves, Reservation
from app.core.db import HotConnection

_COLUMNS: Final = ", ".join(Reservation._fields)

# A group in one statement: its holds, in windows that are locked, and its reservations, as one JSON text. Nothing is
# written when the budgets are of another version than $1: whoever makes a budget locks the table until it is committed,
# and PostgreSQL reads the version after it has waited for that. A reservation that is there already is left alone, so
# that a group whose commit was not acknowledged can be sent again.
_WRITE: Final = f"""
WITH current AS MATERIALIZED (SELECT version, now() AS moment FROM budget_versions), moved AS (
    UPDATE budget_windows SET reserved_nano = reserved_nano + move.reserved
    FROM unnest($2::bigint[], $3::bigint[]) AS move(id, reserved), current
    WHERE budget_windows.id = move.id AND current.version = $1
), made AS (
    INSERT INTO reservations ({_COLUMNS})
    SELECT {_COLUMNS} FROM json_populate_recordset(NULL::reservations, ($4::text)::json), current
    WHERE current.version = $1 ON CONFLICT (id) DO NOTHING
) SELECT version, moment FROM current
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


async def write_group(
    connection: HotConnection, version: int, moves: Moves, reservations: Sequence[Reservation]
) -> tuple[int, datetime]:
    """Hold what *moves* says and insert *reservations*, if the budgets are still of *version*.

    Returns the version that they have, and the database's time.
    """
    rows = orjson.dumps([reservation._asdict() for reservation in reservations], default=str).decode()
    held = [move.reserved_nano for move in moves.values()]
    written, now = await connection.fetchrow(_WRITE, version, list(moves), held, rows)
    return written, now


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
