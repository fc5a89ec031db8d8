"""Fills a database with what years leave in it: a million calls, and 10^5 of what people make.

Most of it is of others, old, archived, revoked or common, so that a statement that walks until it finds must walk far.
"""

from typing import Any, Final, NamedTuple

import asyncpg

from app.ledger.usage_sum import MEASURES

DAYS: Final = 75
"""How far back calls go: into months whose partitions nobody needs to look at for a question about today."""


class Sizes(NamedTuple):
    """How much there is to be."""

    calls: int = 1_000_000
    people: int = 100_000
    """And projects, keys, sessions; of what not everybody has there is a part as much."""
    days: int = DAYS

    def numbers(self) -> dict[str, Any]:
        """Return what stands in the statements below."""
        return {
            "calls": self.calls,
            # Not every call leaves a row in every table: those of a minute share a rollup, few are repeated or stored.
            "some_calls": self.calls // 4,
            "people": self.people,
            "some_people": self.people // 4,
            "since": f"now() - interval '{self.days} days'",
            "step_ms": self.days * 86_400_000 / self.calls,
            "past": f"now() - interval '400 days' + n * interval '{400 * 86_400 / self.people} seconds'",
            "audit_step_seconds": 200 * 86_400 / self.people,
            "measures": ", ".join(["1"] * len(MEASURES)),
        }


# How many, and what: in this order, for the sake of foreign keys. `n` counts from 1.
_ROWS: Final[dict[str, tuple[str, str]]] = {
    "projects": (
        "{people}",
        """(id, name, created_at, archived_at, model_mode)
        SELECT 'proj_' || n, 'Project ' || n, {past}, CASE WHEN n % 10 > 0 THEN now() END,
            CASE WHEN n % 1000 = 0 THEN 'deny_list' END""",
    ),
    "users": (
        "{people}",
        """(id, email, name, role, issuer, subject, created_at, disabled_at)
        SELECT 'user_' || n, 'u' || n || '@example.org', 'User ' || n, 'member', 'https://issuer.example.org', 's' || n,
            {past}, CASE WHEN n % 10 > 0 THEN now() END""",
    ),
    "project_members": (
        "{people}",
        """(project_id, user_id, role, added_at)
        SELECT CASE WHEN n % 5 = 0 THEN 'proj_1' ELSE 'proj_' || n END, 'user_' || n, 'member', {past}""",
    ),
    "service_accounts": (
        "{some_people}",
        """(id, project_id, name, role, created_at, deleted_at)
        SELECT 'svc_' || n, CASE WHEN n % 5 = 0 THEN 'proj_1' ELSE 'proj_' || n END, 'Account ' || n, 'member', {past},
            CASE WHEN n % 10 > 0 THEN now() END""",
    ),
    "api_keys": (
        "{people}",
        """(id, kind, project_id, user_id, name, digest, redacted, created_at, revoked_at)
        SELECT 'key_' || n, 'api', CASE WHEN n % 5 = 0 THEN 'proj_1' ELSE 'proj_' || n END, 'user_' || n, 'Key ' || n,
            sha256(n::text::bytea), 'sk-…', {past}, CASE WHEN n % 10 > 0 THEN now() END""",
    ),
    "sessions": (
        "{people}",
        """(id, user_id, created_at, expires_at)
        SELECT 'sess_' || n, 'user_' || n, {past}, now() + interval '7 days'""",
    ),
    "refresh_tokens": (
        "{people}",
        """(digest, session_id, expires_at)
        SELECT sha256(n::text::bytea), 'sess_' || n, now() + interval '7 days'""",
    ),
    "invites": (
        "{some_people}",
        """(id, email, role, projects, digest, created_at, expires_at)
        SELECT 'invite_' || n, 'i' || n || '@example.org', 'member', '{{}}', sha256(n::text::bytea), {past}, now()""",
    ),
    "sign_in_attempts": (
        "{some_people}",
        "(digest, count, ends_at) SELECT sha256(n::text::bytea), 1, now() + interval '1 day'",
    ),
    "limits": (
        "{people} / 5",  # every process has all of them in memory
        """(id, name, scope, scope_id, counts, per, maximum, mode, version, created_at)
        SELECT 'limit_' || n, 'Limit ' || n, 'api_key', 'key_' || n, 'requests', 'minute', 1000, 'enforcing', 1,
            now()""",
    ),
    "budgets": (
        "{people}",
        """(id, name, scope, scope_id, period, time_zone, limit_nano, mode, version, created_at, archived_at)
        SELECT 'budget_' || n, 'Budget ' || n, 'api_key', 'key_' || n, 'month', 'UTC', 1000000000, 'enforcing', 1,
            {past}, CASE WHEN n % 10 > 0 THEN now() END""",
    ),
    "budget_changes": (
        "{some_people}",
        "(budget_id, changed_at, changed_by, kind) SELECT 'budget_' || n, {past}, 'key_1', 'created'",
    ),
    "budget_windows": (
        "{people}",
        """(budget_id, starts_at, ends_at, opening_nano)
        SELECT 'budget_' || n, date_trunc('month', now()) - interval '3 months',
            date_trunc('month', now()) - interval '2 months', 0""",
    ),
    "spend_alerts": (
        "{some_people}",
        """(id, project_id, threshold_cents, recipients, created_at)
        SELECT 'alert_' || n, 'proj_' || n, 100, '{{a@example.org}}', {past}""",
    ),
    "project_caches": (
        "{some_people}",
        "(project_id, enabled) SELECT 'proj_' || n, true",
    ),
    "audit_entries": (
        "2 * {people}",
        """(id, effective_at, event, resource_id, project_id, actor_kind, actor_id, actor_user_id, actor_email,
            details)
        SELECT 'audit_' || n, now() - interval '400 days' + n * interval '{audit_step_seconds} seconds',
            'login.succeeded', 'user_' || n % 1000, 'proj_' || n % 1000, 'session', 'sess_' || n % 1000,
            'user_' || n % 1000, 'u' || n % 1000 || '@example.org', '{{}}'""",
    ),
    "reservations": (
        "{some_people}",
        """(id, process_id, request_id, project_id, key_id, operation, upstream, model, streamed, ceiling_nano,
            started_at, budget_window_ids)
        SELECT md5(n::text)::uuid, md5('process' || n % 8 + 1)::uuid, 'req_' || n, 'proj_' || n,
            'key_' || n, 'chat.completions', 'openai', 'gpt-4o', false, 1000, now(), '{{}}'""",
    ),
    "idempotency_keys": (
        "{some_calls}",
        """(key_id, key, fingerprint, reservation_id, request_id, expires_at, status, headers, body)
        SELECT 'key_' || n % {people}, 'retry-' || n, '\\x00', md5(n::text)::uuid, 'req_' || n,
            now() + interval '1 day', 200, '[]', '{{}}'""",
    ),
    "owned_objects": (
        "{some_calls}",
        """(project_id, object_id, kind, upstream, created_at)
        SELECT CASE WHEN n % 2 = 0 THEN 'proj_1' ELSE 'proj_' || n % {people} END, 'obj_' || n,
            CASE WHEN n % 2 = 0 THEN 'file' ELSE 'response' END, 'openai',
            now() - CASE WHEN n % 2 = 0 THEN interval '400 days' ELSE interval '1 day' END""",
    ),
    "processes": ("8", "(id, heartbeat_at) SELECT md5('process' || n)::uuid, now() + interval '1 day'"),
    "ledger_changes": ("{people}", "(minute) SELECT date_trunc('minute', now()) - n / 10000 * interval '1 minute'"),
}

_LEDGER: Final = """
INSERT INTO ledger_entries (id, settled_at, request_id, project_id, user_id, key_id, operation, upstream, model,
    answered_model, streamed, status, ending, outcome, input_tokens, cached_input_tokens, cache_write_tokens,
    input_audio_tokens, output_tokens, reasoning_tokens, output_audio_tokens, cost_nano, ceiling_nano, flags,
    started_at, upstream_us, gateway_us, budget_window_ids)
SELECT (lpad(to_hex(ms), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
    at + interval '1 second', 'req_' || n, CASE WHEN n % 2 = 0 THEN 'proj_1' ELSE 'proj_' || n % 10000 END,
    CASE WHEN n % 2 = 0 THEN 'user_' || n % 1000 END, 'key_' || n % 10000, 'chat.completions', 'openai', 'gpt-4o',
    'gpt-4o-2024-08-06', false, 200, 'settled', 'completed', 100, 0, 0, 0, 100, 0, 0, 1000, 2000, '{{}}', at, 1000, 100,
    ARRAY[n % 1000]
FROM (SELECT (extract(epoch FROM {since}) * 1000)::bigint AS since_ms) AS since, generate_series(1, {calls}) AS n,
    LATERAL (
        SELECT (since_ms + n * {step_ms})::bigint AS ms, {since} + n * interval '{step_ms} milliseconds' AS at
    ) AS moment
"""
_ROLLUPS: Final = """
INSERT INTO usage_rollups
SELECT width, date_trunc(width, {since} + n * ({calls} / rows) * interval '{step_ms} milliseconds'),
    CASE WHEN n % 2 = 0 THEN 'proj_1' ELSE 'proj_' || n % 10000 END, 'user_' || n % 1000, 'key_' || n,
    'chat.completions', 'gpt-4o-2024-08-06', NULL, 'completed', {measures}
FROM (VALUES ('minute', {some_calls} * 9 / 10), ('hour', {some_calls} * 9 / 100), ('day', {some_calls} / 100))
    AS widths (width, rows), generate_series(1, rows) AS n
"""
_STATEMENTS: Final = {
    **{
        table: f"INSERT INTO {table} {columns} FROM generate_series(1, {count}) AS n"
        for table, (count, columns) in _ROWS.items()
    },
    "ledger_entries": _LEDGER,
    "usage_rollups": _ROLLUPS,
}
TABLES: Final = frozenset(_STATEMENTS)

_CONSTRAINTS: Final = """
SELECT conrelid::regclass, conname, pg_get_constraintdef(oid), contype = 'f' AS is_foreign FROM pg_constraint
WHERE contype IN ('p', 'u', 'f') AND connamespace = 'public'::regnamespace AND conparentid = 0 ORDER BY is_foreign, oid
"""
_INDEXES: Final = """
SELECT relname, pg_get_indexdef(pg_class.oid) FROM pg_class
WHERE relkind IN ('i', 'I') AND relnamespace = 'public'::regnamespace AND NOT relispartition
"""


async def fill(
    connection: "asyncpg.Connection[asyncpg.Record]",
    sizes: Sizes = Sizes(),  # noqa: B008 - immutable
    tables: frozenset[str] = TABLES,
) -> None:
    """Fill *tables*, all that grow; indexes are made again once all is there, which is much faster."""
    statements = [statement.format(**sizes.numbers()) for table, statement in _STATEMENTS.items() if table in tables]
    constraints = await connection.fetch(_CONSTRAINTS)
    for table, name, _, _ in reversed(constraints):
        await connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    indexes = await connection.fetch(_INDEXES)
    for name, _ in indexes:
        await connection.execute(f"DROP INDEX {name}")
    for statement in statements:
        await connection.execute(statement)
    additions = [
        (f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}", is_foreign)
        for table, name, definition, is_foreign in constraints
    ]
    for addition, is_foreign in additions:
        if not is_foreign:
            await connection.execute(addition)
    for _, definition in indexes:
        await connection.execute(definition.replace(" ON ONLY ", " ON "))
    for addition, is_foreign in additions:
        if is_foreign:
            await connection.execute(addition)
    # As autovacuum does, which leaves out the tables that only have partitions.
    for (table,) in await connection.fetch("SELECT oid::regclass FROM pg_class WHERE relkind = 'r' AND oid >= 16384"):
        await connection.execute(f"ANALYZE {table}")
