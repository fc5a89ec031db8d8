"""Reservations and heartbeats in PostgreSQL. Bare asyncpg: these statements run for every call, in groups."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Final
from uuid import UUID

import orjson

from app.budgets.admission import CurrentWindows
from app.budgets.reservation import Hold, Moves, Reservation
from app.core.db import HotConnection
from app.ledger import statement
from app.ledger.entries import Entry

_COLUMNS: Final = ", ".join(field.name for field in fields(Reservation))

# A group in one statement and one round trip: it is written only if the budgets are still of version $1, the moment is
# in every window, and each window of $4 has room for all that the group holds there, below its limit (null where it
# does not refuse). The windows are locked in the order of their ids first; what others have moved until then counts.
# Whoever makes a budget locks the table of reservations until it is committed, and PostgreSQL reads the version after
# it has waited for that. A group is never sent twice: one whose commit was not acknowledged has failed.
_WRITE_IF_ROOM: Final = f"""
WITH holds AS MATERIALIZED (
    SELECT * FROM json_to_recordset(($4::text)::json) AS hold(id bigint, reserved bigint, "limit" bigint)
), locked AS MATERIALIZED (
    SELECT id, extra_nano - spent_nano - withheld_nano - reserved_nano AS room
    FROM budget_windows WHERE id = ANY(ARRAY(SELECT id FROM holds)) ORDER BY id FOR UPDATE
), checked AS MATERIALIZED (
    SELECT version, now() AS moment, version = $1 AND now() >= $2::timestamptz AND now() < $3::timestamptz
        AND (SELECT count(*) FROM locked) = (SELECT count(*) FROM holds)
        AND NOT EXISTS (SELECT FROM holds JOIN locked USING (id) WHERE reserved > "limit" + room) AS fits
    FROM budget_versions
), moved AS (
    UPDATE budget_windows SET reserved_nano = reserved_nano + reserved FROM holds, checked
    WHERE budget_windows.id = holds.id AND fits
), made AS (
    INSERT INTO reservations ({_COLUMNS})
    SELECT {_COLUMNS} FROM json_populate_recordset(NULL::reservations, ($5::text)::json), checked
    WHERE fits
) SELECT fits FROM checked
"""  # noqa: S608 - made of constants

# The same for a group whose windows were locked, and looked into, by an earlier statement of the transaction.
_WRITE: Final = f"""
WITH current AS MATERIALIZED (SELECT version, now() AS moment FROM budget_versions), moved AS (
    UPDATE budget_windows SET reserved_nano = reserved_nano + move.reserved
    FROM unnest($2::bigint[], $3::bigint[]) AS move(id, reserved), current
    WHERE budget_windows.id = move.id AND current.version = $1
), made AS (
    INSERT INTO reservations ({_COLUMNS})
    SELECT {_COLUMNS} FROM json_populate_recordset(NULL::reservations, ($4::text)::json), current
    WHERE current.version = $1
) SELECT version, moment FROM current
"""  # noqa: S608 - made of constants

# Whoever deletes the row has the right to charge for it, and nobody else: that is what makes a settlement happen once.
_TAKE: Final = "DELETE FROM reservations WHERE id = ANY($1) RETURNING id, ceiling_nano, budget_window_ids"

# A group of settlements in one statement, and all of it or nothing: nothing unless each reservation is open and holds
# what its process remembers, which a budget made meanwhile changes. Then $2 is right, and is what moves. The
# windows, which every other call waits for, are locked last, and in the order of their ids.
_SETTLE: Final = f"""
WITH entries AS MATERIALIZED ({statement.ROWS}), moves AS MATERIALIZED (
    SELECT * FROM json_to_recordset(($2::text)::json) AS move(id bigint, reserved bigint, spent bigint, withheld bigint)
), open AS MATERIALIZED (
    SELECT reservations.id FROM reservations JOIN entries USING (id)
    WHERE reservations.ceiling_nano = entries.ceiling_nano
        AND reservations.budget_window_ids = entries.budget_window_ids
    FOR UPDATE OF reservations
), checked AS MATERIALIZED (SELECT (SELECT count(*) FROM open) = (SELECT count(*) FROM entries) AS are_open),
taken AS (
    DELETE FROM reservations USING open, checked WHERE reservations.id = open.id AND are_open RETURNING reservations.id
), marks AS ({statement.MARK % "SELECT are_open FROM checked"}),
written AS ({statement.INSERT % "SELECT are_open FROM checked"} RETURNING id),
done AS MATERIALIZED (SELECT are_open, (SELECT count(*) FROM taken), (SELECT count(*) FROM written) FROM checked),
locked AS MATERIALIZED (
    SELECT id FROM budget_windows WHERE id = ANY(ARRAY(SELECT id FROM moves)) AND (SELECT are_open FROM done)
    ORDER BY id FOR UPDATE
), moved AS (
    UPDATE budget_windows SET reserved_nano = reserved_nano + reserved, spent_nano = spent_nano + spent,
        withheld_nano = withheld_nano + withheld
    FROM moves, locked WHERE budget_windows.id = moves.id AND budget_windows.id = locked.id
) SELECT are_open FROM checked
"""  # noqa: S608 - made of constants

_OPEN: Final = "SELECT id FROM reservations WHERE process_id = $1"

# The same for the reservations of processes whose heartbeat is older than $1 seconds by the database's clock. Which
# processes have any is found by stepping through the index, from each to the next: calls under way may be many. Rows
# that somebody else is taking at this moment are theirs; two sweepers never wait for each other.
_SWEEP: Final = f"""
WITH RECURSIVE holders AS (
    (SELECT process_id FROM reservations ORDER BY process_id LIMIT 1)
    UNION ALL
    SELECT (SELECT process_id FROM reservations WHERE process_id > holders.process_id ORDER BY process_id LIMIT 1)
    FROM holders WHERE process_id IS NOT NULL
), dead AS MATERIALIZED (
    SELECT process_id FROM holders LEFT JOIN processes ON processes.id = process_id
    WHERE process_id IS NOT NULL AND (heartbeat_at IS NULL OR heartbeat_at < now() - make_interval(secs => $1))
) DELETE FROM reservations WHERE id IN (
    SELECT id FROM dead, LATERAL (
        SELECT id FROM reservations WHERE process_id = dead.process_id LIMIT $2 FOR UPDATE SKIP LOCKED
    ) AS orphans LIMIT $2
) RETURNING {_COLUMNS}
"""  # noqa: S608 - made of constants

_BEAT: Final = """
WITH before AS MATERIALIZED (SELECT heartbeat_at FROM processes WHERE id = $1)
INSERT INTO processes (id, heartbeat_at) VALUES ($1, now())
ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at
RETURNING coalesce((SELECT heartbeat_at >= now() - make_interval(secs => $2) FROM before), false)
"""

# A process is forgotten once it is dead and has nothing left to sweep.
_FORGET: Final = """
DELETE FROM processes WHERE heartbeat_at < now() - make_interval(secs => $1)
AND NOT EXISTS (SELECT FROM reservations WHERE process_id = processes.id)
"""


async def write_if_room(
    connection: HotConnection, current: CurrentWindows, moves: Moves, reservations: Sequence[Reservation]
) -> bool:
    """Hold what *moves* says and insert *reservations*, if *current* is still true and there is room for all.

    Returns whether it was done; otherwise nothing was.
    """
    holds = [
        {"id": window_id, "reserved": move.reserved_nano, "limit": current.limits_nano[window_id]}
        for window_id, move in moves.items()
    ]
    fits: bool = await connection.fetchval(
        _WRITE_IF_ROOM, current.version, current.starts_at, current.ends_at, _json(holds), _json(reservations)
    )
    return fits


async def write_group(
    connection: HotConnection, version: int, moves: Moves, reservations: Sequence[Reservation]
) -> tuple[int, datetime]:
    """Hold what *moves* says and insert *reservations*, if the budgets are still of *version*.

    Returns the version that they have, and the database's time.
    """
    held = [move.reserved_nano for move in moves.values()]
    written, now = await connection.fetchrow(_WRITE, version, list(moves), held, _json(reservations))
    return written, now


def _json(rows: Sequence[Mapping[str, object] | Reservation]) -> str:
    """Return *rows* as one parameter: arrays, which asyncpg looks through in Python, cost several times as much."""
    return orjson.dumps(rows, default=str).decode()


async def settle_if_open(connection: HotConnection, entries: Sequence[Entry], moves: Moves) -> bool:
    """Delete the reservations of *entries*, move what they hold, and append them; return whether it was done.

    It is not, and nothing was, if any of them is not open or does not hold what its entry says.
    """
    rows = [
        {"id": window_id, "reserved": move.reserved_nano, "spent": move.spent_nano, "withheld": move.withheld_nano}
        for window_id, move in moves.items()
    ]
    are_open: bool = await connection.fetchval(_SETTLE, statement.rows_of(entries), _json(rows))
    return are_open


async def take_reservations(connection: HotConnection, ids: Sequence[UUID]) -> dict[UUID, Hold]:
    """Delete those of *ids* that are open and return what each held."""
    return {row[0]: Hold(row[1], tuple(row[2])) for row in await connection.fetch(_TAKE, ids)}


async def take_orphans(connection: HotConnection, lease_seconds: float, limit: int) -> list[Reservation]:
    """Delete up to *limit* reservations of processes that are dead, and return them."""
    rows = await connection.fetch(_SWEEP, lease_seconds, limit)
    reservations = [Reservation(*row) for row in rows]
    return [each.grant(each.ceiling_nano, tuple(each.budget_window_ids)) for each in reservations]


async def find_open(connection: HotConnection, process_id: UUID) -> list[UUID]:
    """Return the ids of the open reservations of one process."""
    return [row[0] for row in await connection.fetch(_OPEN, process_id)]


async def beat(connection: HotConnection, process_id: UUID, late_seconds: float) -> bool:
    """Say that the process is alive now; tell whether it did so before, no longer ago than *late_seconds*."""
    is_in_time: bool = await connection.fetchval(_BEAT, process_id, late_seconds)
    return is_in_time


async def forget_dead_processes(connection: HotConnection, lease_seconds: float) -> None:
    """Delete dead processes that hold nothing."""
    await connection.execute(_FORGET, lease_seconds)


async def delete_process(connection: HotConnection, process_id: UUID) -> None:
    """Delete a process that has settled everything and ends."""
    await connection.execute("DELETE FROM processes WHERE id = $1", process_id)
