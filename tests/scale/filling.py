"""Fills a database with what years leave in it: a million calls, and 10^5 of what people make.

Most of it is of others, old, archived, revoked or common, so that a statement that walks until it finds must walk far.
"""

from typing import Final

import asyncpg

from app.ledger.usage_sum import MEASURES

CALLS: Final = 1_000_000
SOME_CALLS: Final = CALLS // 4
"""Not every call leaves a row in every table: those of a minute share a rollup, few are repeated or stored."""
PEOPLE: Final = 100_000
SOME_PEOPLE: Final = PEOPLE // 4
DAYS: Final = 75
"""How far back calls go: into months whose partitions nobody needs to look at for a question about today."""

_SINCE: Final = f"now() - interval '{DAYS} days'"
_STEP_MS: Final = DAYS * 86_400_000 // CALLS
_PAST: Final = f"now() - interval '400 days' + n * interval '{400 * 86_400 // PEOPLE} seconds'"

# In this order, for the sake of foreign keys. `n` counts from 1.
_ROWS: Final[dict[str, tuple[int, str]]] = {
    "projects": (
        PEOPLE,
        f"""(id, name, created_at, archived_at, model_mode)
        SELECT 'proj_' || n, 'Project ' || n, {_PAST}, CASE WHEN n % 10 > 0 THEN now() END,
            CASE WHEN n % 1000 = 0 THEN 'deny_list' END""",
    ),
    "users": (
        PEOPLE,
        f"""(id, email, name, role, issuer, subject, created_at, disabled_at)
        SELECT 'user_' || n, 'u' || n || '@example.org', 'User ' || n, 'member', 'https://issuer.example.org', 's' || n,
            {_PAST}, CASE WHEN n % 10 > 0 THEN now() END""",
    ),
    "project_members": (
        PEOPLE,
        f"""(project_id, user_id, role, added_at)
        SELECT CASE WHEN n % 5 = 0 THEN 'proj_1' ELSE 'proj_' || n END, 'user_' || n, 'member', {_PAST}""",
    ),
    "service_accounts": (
        SOME_PEOPLE,
        f"""(id, project_id, name, role, created_at, deleted_at)
        SELECT 'svc_' || n, CASE WHEN n % 5 = 0 THEN 'proj_1' ELSE 'proj_' || n END, 'Account ' || n, 'member', {_PAST},
            CASE WHEN n % 10 > 0 THEN now() END""",
    ),
    "api_keys": (
        PEOPLE,
        f"""(id, kind, project_id, user_id, name, digest, redacted, created_at, revoked_at)
        SELECT 'key_' || n, 'api', CASE WHEN n % 5 = 0 THEN 'proj_1' ELSE 'proj_' || n END, 'user_' || n, 'Key ' || n,
            sha256(n::text::bytea), 'sk-…', {_PAST}, CASE WHEN n % 10 > 0 THEN now() END""",
    ),
    "sessions": (
        PEOPLE,
        f"""(id, user_id, created_at, expires_at)
        SELECT 'sess_' || n, 'user_' || n, {_PAST}, now() + interval '7 days'""",
    ),
    "refresh_tokens": (
        PEOPLE,
        """(digest, session_id, expires_at)
        SELECT sha256(n::text::bytea), 'sess_' || n, now() + interval '7 days'""",
    ),
    "invites": (
        SOME_PEOPLE,
        f"""(id, email, role, projects, digest, created_at, expires_at)
        SELECT 'invite_' || n, 'i' || n || '@example.org', 'member', '{{}}', sha256(n::text::bytea), {_PAST}, now()""",
    ),
    "sign_in_attempts": (
        SOME_PEOPLE,
        "(digest, count, ends_at) SELECT sha256(n::text::bytea), 1, now() + interval '1 day'",
    ),
    "limits": (
        PEOPLE // 5,  # every process has all of them in memory
        """(id, name, scope, scope_id, counts, per, maximum, mode, version, created_at)
        SELECT 'limit_' || n, 'Limit ' || n, 'api_key', 'key_' || n, 'requests', 'minute', 1000, 'enforcing', 1,
            now()""",
    ),
    "budgets": (
        PEOPLE,
        f"""(id, name, scope, scope_id, period, time_zone, limit_nano, mode, version, created_at, archived_at)
        SELECT 'budget_' || n, 'Budget ' || n, 'api_key', 'key_' || n, 'month', 'UTC', 1000000000, 'enforcing', 1,
            {_PAST}, CASE WHEN n % 10 > 0 THEN now() END""",
    ),
    "budget_changes": (
        SOME_PEOPLE,
        f"(budget_id, changed_at, changed_by, kind) SELECT 'budget_' || n, {_PAST}, 'key_1', 'created'",
    ),
    "budget_windows": (
        PEOPLE,
        """(budget_id, starts_at, ends_at, opening_nano)
        SELECT 'budget_' || n, date_trunc('month', now()) - interval '3 months',
            date_trunc('month', now()) - interval '2 months', 0""",
    ),
    "spend_alerts": (
        SOME_PEOPLE,
        f"""(id, project_id, threshold_cents, recipients, created_at)
        SELECT 'alert_' || n, 'proj_' || n, 100, '{{a@example.org}}', {_PAST}""",
    ),
    "project_caches": (
        SOME_PEOPLE,
        "(project_id, enabled) SELECT 'proj_' || n, true",
    ),
    "audit_entries": (
        2 * PEOPLE,
        f"""(id, effective_at, event, resource_id, project_id, actor_kind, actor_id, actor_user_id, actor_email,
            details)
        SELECT 'audit_' || n, now() - interval '400 days' + n * interval '{200 * 86_400 // PEOPLE} seconds',
            'login.succeeded', 'user_' || n % 1000, 'proj_' || n % 1000, 'session', 'sess_' || n % 1000,
            'user_' || n % 1000, 'u' || n % 1000 || '@example.org', '{{}}'""",
    ),
    "reservations": (
        SOME_PEOPLE,
        """(id, process_id, request_id, project_id, key_id, operation, upstream, model, streamed, ceiling_nano,
            started_at, budget_window_ids)
        SELECT md5(n::text)::uuid, md5('process' || n % 8 + 1)::uuid, 'req_' || n, 'proj_' || n,
            'key_' || n, 'chat.completions', 'openai', 'gpt-4o', false, 1000, now(), '{}'""",
    ),
    "idempotency_keys": (
        SOME_CALLS,
        f"""(key_id, key, fingerprint, reservation_id, request_id, expires_at, status, headers, body)
        SELECT 'key_' || n % {PEOPLE}, 'retry-' || n, '\\x00', md5(n::text)::uuid, 'req_' || n,
            now() + interval '1 day', 200, '[]', '{{}}'""",
    ),
    "owned_objects": (
        SOME_CALLS,
        f"""(project_id, object_id, kind, upstream, created_at)
        SELECT CASE WHEN n % 2 = 0 THEN 'proj_1' ELSE 'proj_' || n % {PEOPLE} END, 'obj_' || n,
            CASE WHEN n % 2 = 0 THEN 'file' ELSE 'response' END, 'openai',
            now() - CASE WHEN n % 2 = 0 THEN interval '400 days' ELSE interval '1 day' END""",
    ),
    "processes": (8, "(id, heartbeat_at) SELECT md5('process' || n)::uuid, now() + interval '1 day'"),
    "ledger_changes": (PEOPLE, "(minute) SELECT date_trunc('minute', now()) - n / 10000 * interval '1 minute'"),
}

_LEDGER: Final = f"""
INSERT INTO ledger_entries (id, settled_at, request_id, project_id, user_id, key_id, operation, upstream, model,
    answered_model, streamed, status, ending, outcome, input_tokens, cached_input_tokens, cache_write_tokens,
    input_audio_tokens, output_tokens, reasoning_tokens, output_audio_tokens, cost_nano, ceiling_nano, flags,
    started_at, upstream_us, gateway_us, budget_window_ids)
SELECT (lpad(to_hex(ms), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
    at + interval '1 second', 'req_' || n, CASE WHEN n % 2 = 0 THEN 'proj_1' ELSE 'proj_' || n % 10000 END,
    CASE WHEN n % 2 = 0 THEN 'user_' || n % 1000 END, 'key_' || n % 10000, 'chat.completions', 'openai', 'gpt-4o',
    'gpt-4o-2024-08-06', false, 200, 'settled', 'completed', 100, 0, 0, 0, 100, 0, 0, 1000, 2000, '{{}}', at, 1000, 100,
    ARRAY[n % 1000]
FROM (SELECT (extract(epoch FROM {_SINCE}) * 1000)::bigint AS since_ms) AS since, generate_series(1, {CALLS}) AS n,
    LATERAL (
        SELECT since_ms + n::bigint * {_STEP_MS} AS ms, {_SINCE} + n * interval '{_STEP_MS} milliseconds' AS at
    ) AS moment
"""
_ROLLUPS: Final = f"""
INSERT INTO usage_rollups
SELECT width, date_trunc(width, {_SINCE} + n * ({CALLS} / rows) * interval '{_STEP_MS} milliseconds'),
    CASE WHEN n % 2 = 0 THEN 'proj_1' ELSE 'proj_' || n % 10000 END, 'user_' || n % 1000, 'key_' || n,
    'chat.completions', 'gpt-4o-2024-08-06', NULL, 'completed', {", ".join(["1"] * len(MEASURES))}
FROM (VALUES ('minute', {SOME_CALLS} * 9 / 10), ('hour', {SOME_CALLS} * 9 / 100), ('day', {SOME_CALLS} / 100))
    AS widths (width, rows), generate_series(1, rows) AS n
"""

_CONSTRAINTS: Final = """
SELECT conrelid::regclass, conname, pg_get_constraintdef(oid), contype = 'f' AS is_foreign FROM pg_constraint
WHERE contype IN ('p', 'u', 'f') AND connamespace = 'public'::regnamespace AND conparentid = 0 ORDER BY is_foreign, oid
"""
_INDEXES: Final = """
SELECT relname, pg_get_indexdef(pg_class.oid) FROM pg_class
WHERE relkind IN ('i', 'I') AND relnamespace = 'public'::regnamespace AND NOT relispartition
"""


async def fill(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Fill every table that grows; indexes are made again once all is there, which is much faster."""
    constraints = await connection.fetch(_CONSTRAINTS)
    for table, name, _, _ in reversed(constraints):
        await connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    indexes = await connection.fetch(_INDEXES)
    for name, _ in indexes:
        await connection.execute(f"DROP INDEX {name}")
    for table, (count, columns) in _ROWS.items():
        await connection.execute(f"INSERT INTO {table} {columns} FROM generate_series(1, {count}) AS n")
    await connection.execute(_LEDGER)
    await connection.execute(_ROLLUPS)
    for table, name, definition, is_foreign in constraints:
        if not is_foreign:
            await connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
    for _, definition in indexes:
        await connection.execute(definition.replace(" ON ONLY ", " ON "))
    for table, name, definition, is_foreign in constraints:
        if is_foreign:
            await connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
    # As autovacuum does, which leaves out the tables that only have partitions.
    for (table,) in await connection.fetch("SELECT oid::regclass FROM pg_class WHERE relkind = 'r' AND oid >= 16384"):
        await connection.execute(f"ANALYZE {table}")
