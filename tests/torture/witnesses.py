"""Asks the simulator and the database what they know, once everything has come to rest. Plain HTTP and plain SQL."""

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp
import asyncpg

from tests.torture.evidence import Row, Window
from tests.torture.processes import Program
from tests.torture.truth import Served

_REST_SECONDS = 60.0
_POLL_SECONDS = 0.1
_ROWS = f"SELECT {', '.join(Row._fields)} FROM ledger_entries ORDER BY settled_at".replace(
    "window_ids", "budget_window_ids"
)
_WINDOWS = """
SELECT w.id, b.id, b.name, b.scope, b.scope_id, b.model, b.mode, b.limit_nano + w.extra_nano,
coalesce(w.opening_nano, 0), w.spent_nano, w.reserved_nano
FROM budget_windows w JOIN budgets b ON b.id = w.budget_id ORDER BY w.id
"""


async def wait_for_rest(
    connection: "asyncpg.Connection[asyncpg.Record]", simulator: str, gateways: Sequence[Program]
) -> None:
    """Return when no reservation is open, nothing waits to be written, and the dead are forgotten; or after a minute.

    What is still open then is the audit's to complain about.
    """
    async with aiohttp.ClientSession() as session:
        try:
            async with asyncio.timeout(_REST_SECONDS):
                while not await _is_at_rest(connection, session, simulator, gateways):  # noqa: ASYNC110 - others' state
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            return


async def _is_at_rest(
    connection: "asyncpg.Connection[asyncpg.Record]",
    session: aiohttp.ClientSession,
    simulator: str,
    gateways: Sequence[Program],
) -> bool:
    account = await _get_account(session, simulator, 0, 1)
    if account["arrived"] != account["ended"]:
        return False
    for gateway in gateways:
        async with session.get(f"{gateway.base_url}/metrics") as answer:
            if "\nweir_ledger_pending 0.0" not in await answer.text():
                return False
    open_count, processes = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM reservations), (SELECT count(*) FROM processes)"
    )
    return bool(open_count == 0 and processes == len(gateways))


async def read_account(simulator: str) -> list[Served]:
    """Return every call that the simulator served."""
    served: list[Served] = []
    after, has_more = 0, True
    async with aiohttp.ClientSession() as session:
        while has_more:
            page = await _get_account(session, simulator, after, 1_000)
            has_more = page["has_more"]
            served += [_served(call) for call in page["data"] if call["method"] == "POST"]
            after = page["data"][-1]["sequence"] if page["data"] else after
    return served


def _served(call: dict[str, Any]) -> Served:
    named = {**call, "model": call["model"] or "", "request_id": call["request_id"] or ""}
    return Served(**{name: named[name] for name in Served._fields})


async def _get_account(session: aiohttp.ClientSession, simulator: str, after: int, limit: int) -> dict[str, Any]:
    async with session.get(f"{simulator}/simulator/account?after={after}&limit={limit}") as answer:
        page: dict[str, Any] = await answer.json()
        return page


async def read_rows(connection: "asyncpg.Connection[asyncpg.Record]") -> list[Row]:
    """Return the whole ledger."""
    rows = [Row(*record) for record in await connection.fetch(_ROWS)]
    return [row._replace(flags=tuple(row.flags), window_ids=tuple(row.window_ids)) for row in rows]


async def read_windows(connection: "asyncpg.Connection[asyncpg.Record]") -> list[Window]:
    """Return every window of every budget."""
    return [Window(*record) for record in await connection.fetch(_WINDOWS)]
