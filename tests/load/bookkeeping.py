"""Compares the ledger with the simulator's own account, which is read while calls go on, as it forgets old ones."""

import asyncio
from typing import Final

import asyncpg
import httpx

from tests.load.gateways import Gateway
from tests.load.rules import database_url

_PAGE: Final = 1_000
_REST_SECONDS: Final = 30.0
_OPEN: Final = "SELECT count(*) FROM reservations"
_RESERVED: Final = "SELECT coalesce(sum(reserved_nano), 0)::bigint FROM budget_windows"
_COUNT: Final = "SELECT count(*) FROM ledger_entries"
_UNSURE: Final = f"{_COUNT} WHERE ending = 'estimated' AND upstream_request_id IS NULL"
"""Nobody can know whether these arrived: their clients left while they were being sent."""
_DIFFERENCES: Final = """
SELECT count(*) FROM budget_windows AS w
WHERE spent_nano <> (SELECT coalesce(sum(cost_nano), 0) FROM ledger_entries WHERE budget_window_ids @> ARRAY[w.id])
"""


class Books:
    """The calls that were made through one Weir, on both sides of it."""

    def __init__(self, simulator: str, gateway: Gateway) -> None:
        assert gateway.directory is not None, "a Weir with servers of its own"
        self.calls = 0
        """That the simulator has had: POSTs, as Weir itself asks for its models now and then."""
        self._last = 0
        self._url = f"{simulator}/simulator/account"
        self._database_url = database_url(gateway.directory)

    async def read(self) -> None:
        """Read what is new in the simulator's account."""
        async with httpx.AsyncClient(timeout=_REST_SECONDS, trust_env=False) as client:
            has_more = True
            while has_more:
                answer = await client.get(self._url, params={"after": self._last, "limit": _PAGE})
                page = answer.raise_for_status().json()
                self.calls += sum(call["method"] == "POST" for call in page["data"])
                self._last = page["data"][-1]["sequence"] if page["data"] else self._last
                has_more = page["has_more"]

    async def complaints(self) -> list[str]:
        """Return what is wrong with the books, once nothing is under way any more, or after a while."""
        connection = await asyncpg.connect(self._database_url)
        try:
            for _ in range(int(_REST_SECONDS * 4)):
                if not await connection.fetchval(_OPEN) and not await connection.fetchval(_RESERVED):
                    break
                await asyncio.sleep(0.25)
            reservations, reserved = await connection.fetchval(_OPEN), await connection.fetchval(_RESERVED)
            entries, unsure = await connection.fetchval(_COUNT), await connection.fetchval(_UNSURE)
            different = await connection.fetchval(_DIFFERENCES)
        finally:
            await connection.close()
        await self.read()
        found = []
        if not entries - unsure <= self.calls <= entries:
            found.append(f"the ledger has {entries} calls, {unsure} of them unsure, and the simulator {self.calls}")
        if reservations or reserved:
            found.append(f"{reservations} reservations are open, and {reserved} nano-dollars reserved")
        if different:
            found.append(f"{different} windows of budgets have not spent what the ledger says")
        return found
