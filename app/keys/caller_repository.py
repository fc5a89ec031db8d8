"""Who calls with a key, in PostgreSQL. Bare asyncpg: calls wait for it, and many keys are looked up at once."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from app.core.db import HotConnection
from app.identity.roles import PROJECT_RIGHTS
from app.keys.caller import Caller
from app.keys.known import Digests
from app.keys.networks import read_network

_ROLES_THAT_CALL: Final = [role for role, rights in PROJECT_RIGHTS.items() if "call" in rights]

# The keys with the digests $1 that may be used at the moment $2: neither revoked nor expired, and their owner is in
# order. The project is open; a service account is there and has a role; a person is there, is in the project with one
# of the roles $3, and owns the organization if it is an admin key. It reads what other features keep, as they would
# have to be asked one after the other, for every lookup, and what they answer would not be true at one moment.
_FIND: Final = """
SELECT key.found_as, key.ends_at, key.id, key.kind, key.project_id, key.user_id, key.service_account_id,
    key.scopes, key.models, key.networks
FROM (
    SELECT *, digest AS found_as, expires_at AS ends_at FROM api_keys WHERE digest = ANY($1::bytea[])
    UNION ALL
    SELECT *, previous_digest, least(expires_at, previous_expires_at) FROM api_keys
    WHERE previous_digest = ANY($1::bytea[])
) AS key
LEFT JOIN projects AS project ON project.id = key.project_id
LEFT JOIN service_accounts AS account ON account.id = key.service_account_id
LEFT JOIN users AS person ON person.id = key.user_id AND person.disabled_at IS NULL
LEFT JOIN project_members AS member ON member.project_id = key.project_id AND member.user_id = key.user_id
WHERE key.revoked_at IS NULL
AND (key.ends_at IS NULL OR key.ends_at > $2)
AND project.archived_at IS NULL
AND (key.service_account_id IS NULL OR account.deleted_at IS NULL AND account.role <> 'none')
AND (key.user_id IS NULL OR person.role = 'owner' OR key.kind = 'api' AND person.role IS NOT NULL)
AND (key.user_id IS NULL OR key.project_id IS NULL OR member.role = ANY($3::text[]))
"""

# A key has up to two digests, of its value and of the one before a rotation.
_REHASH: Final = """
UPDATE api_keys SET
    digest = CASE WHEN digest = $2 THEN $3 ELSE digest END,
    previous_digest = CASE WHEN previous_digest = $2 THEN $3 ELSE previous_digest END
WHERE id = $1 AND $2 IN (digest, previous_digest)
"""


class Found(NamedTuple):
    """Whose key it is, and the digest under which it was found."""

    caller: Caller
    digest: bytes


class Rehash(NamedTuple):
    """Where a key is to have another digest."""

    key_id: str
    old: bytes
    new: bytes


async def find_callers(connection: HotConnection, keys: Sequence[Digests], now: datetime) -> dict[Digests, Found]:
    """Return whose *keys* these are, as far as they may be used."""
    digests = [digest for key in keys for digest in key]
    rows = {row["found_as"]: row for row in await connection.fetch(_FIND, digests, now, _ROLES_THAT_CALL)}
    return {key: Found(_caller(rows[digest]), digest) for key in keys for digest in reversed(key) if digest in rows}


async def rehash(connection: HotConnection, changes: Sequence[Rehash]) -> None:
    """Put new digests in the place of those that are still there, in one commit.

    In the order of the keys' ids, so that no two processes can wait for each other.
    """
    await connection.executemany(_REHASH, sorted(changes))


def _caller(row: Mapping[str, Any]) -> Caller:
    return Caller(
        key_id=row["id"],
        kind=row["kind"],
        project_id=row["project_id"],
        expires_at=row["ends_at"],
        user_id=row["user_id"],
        organization_role="owner" if row["kind"] == "admin" else None,
        service_account_id=row["service_account_id"],
        scopes=frozenset(row["scopes"]),
        models=tuple(row["models"]),
        networks=tuple(read_network(network) for network in row["networks"]),
    )
