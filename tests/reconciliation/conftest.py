import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest

from app.core.db import Database
from app.ledger import repository as ledger
from app.ledger.day_service import DayCostService
from app.ledger.entries import Entry
from app.reconciliation.client import ProviderClient
from app.reconciliation.service import ReconciliationService
from app.setting_groups import Reconciliation
from app.settings import Settings
from app.simulator.app import Simulator
from tests.fixtures.emptying import empty
from tests.fixtures.listening import listening
from tests.fixtures.weir import UPSTREAM_KEY
from tests.ledger.books import write
from tests.ledger.conftest import make_entry, open_database

DAY = date(2031, 5, 10)
MIDNIGHT = datetime(2031, 5, 10, tzinfo=UTC)
MODEL = "gpt-4o-mini-2024-07-18"


def entry(cost_nano: int, settled_at: datetime = MIDNIGHT, **changes: Any) -> Entry:
    return make_entry(**{"cost_nano": cost_nano, "settled_at": settled_at, "answered_model": MODEL, **changes})


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    db = open_database(settings)
    async with db.hot_connection() as connection:
        await empty(connection)
    async with db.transaction() as tx:
        await ledger.create_partitions(tx, MIDNIGHT, 1)
    yield db
    async with db.hot_connection() as connection:
        await empty(connection)
    await db.close()


@pytest.fixture
def simulator(shared_simulator: tuple[Simulator, str]) -> Simulator:
    shared_simulator[0].account.reset()
    return shared_simulator[0]


class Books:
    """A ledger and a provider's account that a test writes in, and the service that compares them."""

    def __init__(self, db: Database, simulator: Simulator, base_url: str) -> None:
        self.db = db
        self.simulator = simulator
        self.base_url = base_url
        self.now = MIDNIGHT + timedelta(days=1, hours=7)

    async def owe(self, *entries: Entry) -> None:
        """Write to the ledger."""
        await write(self.db, entries)

    def charge(self, line_item: str, usd: str, moment: datetime = MIDNIGHT) -> None:
        """Write to the provider's account."""
        self.simulator.account.costs.add(line_item, Decimal(usd), int(moment.timestamp()))

    def service(self, base_url: str | None = None, key: str = UPSTREAM_KEY, **settings: Any) -> ReconciliationService:
        provider = ProviderClient("openai", base_url or self.base_url, key)
        costs = DayCostService(self.db)
        return ReconciliationService(self.db, costs, provider, Reconciliation(**settings), lambda: self.now)

    async def rows(self) -> list[tuple[Any, ...]]:
        """Return what is stored: day, line item, and three amounts."""
        query = "SELECT day, line_item, ledger_nano, provider_nano, difference_nano FROM reconciliations ORDER BY 1, 2"
        async with self.db.hot_connection() as connection:
            return [(row[0], row[1], *map(int, tuple(row)[2:])) for row in await connection.fetch(query)]


@pytest.fixture
def books(db: Database, simulator: Simulator, shared_simulator: tuple[Simulator, str]) -> Books:
    return Books(db, simulator, shared_simulator[1])


class Provider:
    """A provider that answers each request with what `answer` says of its line, for what the simulator never says."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.answer: Callable[[str], bytes] = lambda _: json_answer(page([]))
        self.gate = asyncio.Event()
        self.gate.set()
        self.base_url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.lines.append(head.splitlines()[0])
        await self.gate.wait()
        writer.write(self.answer(self.lines[-1]))
        await writer.drain()
        writer.close()

    def pages(self, *pages: Any) -> None:
        """Answer with these pages; the cursor of each is its number."""

        def answer(line: str) -> bytes:
            found = re.search(r"[?&]page=(\d+)", line)
            return json_answer(pages[int(found[1]) if found else 0])

        self.answer = answer


def page(items: Sequence[tuple[str | None, Any]], next_page: str | None = None) -> dict[str, Any]:
    """Return a page of the costs API with one bucket."""
    results = [{"line_item": name, "amount": {"value": value, "currency": "usd"}} for name, value in items]
    bucket = {"object": "bucket", "start_time": int(MIDNIGHT.timestamp()), "results": results}
    return {"object": "page", "data": [bucket], "has_more": next_page is not None, "next_page": next_page}


def json_answer(document: Any, status: int = 200) -> bytes:
    """Return an HTTP answer with *document*, or these very bytes."""
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    head = f"HTTP/1.1 {status} Said So\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"{head}x-should-retry: false\r\nconnection: close\r\n\r\n".encode() + body


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    async with listening(provider.serve) as address:
        provider.base_url = f"{address}/v1"
        yield provider
