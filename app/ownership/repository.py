"""Who owns what, in PostgreSQL; bare asyncpg, as calls wait for it."""

from collections.abc import Sequence
from typing import Final

from app.core.db import HotConnection
from app.ownership.owned import Owned, OwnedObject

# The first owner stays, whoever else is answered with the same id. In the order of ids, so that no two groups can wait
# for each other.
_ADD: Final = """
INSERT INTO owned_objects (project_id, object_id, kind, upstream)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS new(project_id, object_id, kind, upstream)
ORDER BY object_id, upstream ON CONFLICT DO NOTHING
"""
_FIND: Final = """
SELECT object_id, upstream, kind FROM owned_objects WHERE project_id = $1 AND object_id = ANY($2::text[])
"""
# Whoever it belongs to; of two owners the one who asks.
_FIND_ANYONES: Final = """
SELECT DISTINCT ON (object_id) object_id, upstream, kind FROM owned_objects WHERE object_id = ANY($2::text[])
ORDER BY object_id, (project_id = $1) DESC
"""
# A session is of its project alone, even where another has a container of the same name. What another call renews at
# the same moment is waited for, and then paid for there.
_CLAIM_SESSIONS: Final = """
WITH renewed AS (
    UPDATE owned_objects SET created_at = now()
    WHERE project_id = $1 AND upstream = $2 AND object_id = ANY($3::text[]) AND kind = 'session'
        AND created_at <= now() - make_interval(mins => $4)
    RETURNING object_id
), added AS (
    INSERT INTO owned_objects (project_id, object_id, kind, upstream)
    SELECT $1, id, 'session', $2 FROM unnest($3::text[]) AS new(id) ORDER BY id ON CONFLICT DO NOTHING
)
SELECT object_id FROM owned_objects
WHERE project_id = $1 AND upstream = $2 AND object_id = ANY($3::text[]) AND kind = 'session'
EXCEPT SELECT object_id FROM renewed
"""
_FIND_UPSTREAMS: Final = "SELECT DISTINCT upstream FROM owned_objects WHERE project_id = $1 AND kind = $2"
_DELETE: Final = "DELETE FROM owned_objects WHERE project_id = $1 AND object_id = $2"
# The oldest of each kind, as they are in the index: what else is old, and stays, may be any number.
_PURGE: Final = """
DELETE FROM owned_objects WHERE (project_id, object_id) IN (
    SELECT project_id, object_id FROM unnest($1::text[]) AS passing(kind), LATERAL (
        SELECT project_id, object_id FROM owned_objects
        WHERE kind = passing.kind AND created_at < now() - make_interval(days => $2)
        ORDER BY created_at LIMIT $3 FOR UPDATE SKIP LOCKED
    ) AS old LIMIT $3
) RETURNING 1
"""


async def add(connection: HotConnection, objects: Sequence[OwnedObject]) -> None:
    """Write *objects* in one commit, but those that are there."""
    await connection.execute(_ADD, *map(list, zip(*objects, strict=True)))


async def find(
    connection: HotConnection, project_id: str, object_ids: Sequence[str], *, of_anyone: bool
) -> dict[str, Owned]:
    """Return what the project owns of *object_ids*; with *of_anyone*, whatever is known of them."""
    rows = await connection.fetch(_FIND_ANYONES if of_anyone else _FIND, project_id, object_ids)
    return {row["object_id"]: Owned(row["upstream"], row["kind"]) for row in rows}


async def claim_sessions(
    connection: HotConnection, project_id: str, upstream_name: str, session_ids: Sequence[str], minutes: int
) -> set[str]:
    """Begin those of the sessions that did not begin within *minutes*, and return the others, in one commit."""
    rows = await connection.fetch(_CLAIM_SESSIONS, project_id, upstream_name, session_ids, minutes)
    return {row["object_id"] for row in rows}


async def find_upstreams(connection: HotConnection, project_id: str, kind: str) -> set[str]:
    """Return the names of the upstreams that have objects of *kind* of the project."""
    return {row["upstream"] for row in await connection.fetch(_FIND_UPSTREAMS, project_id, kind)}


async def delete(connection: HotConnection, project_id: str, object_id: str) -> None:
    """Delete one, if it is there."""
    await connection.execute(_DELETE, project_id, object_id)


async def purge(connection: HotConnection, limit: int, kinds: Sequence[str], days: int) -> int:
    """Delete up to *limit* objects of *kinds* that are older than *days*, and return how many."""
    return len(await connection.fetch(_PURGE, kinds, days, limit))
