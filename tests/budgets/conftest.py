from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from app.budgets.reservation import Reservation
from app.budgets.service import BudgetService
from app.core.clock import utc_now
from app.core.db import Database
from app.core.ids import new_id, new_uuid7
from app.core.money import Nano
from app.settings import Budgets as BudgetsSettings
from app.settings import Settings
from tests.ledger.conftest import make_entry, open_database, open_ledger

__all__ = ["make_entry"]


def make_reservation(**changes: Any) -> Reservation:
    """Return a reservation of its own."""
    now = utc_now()
    reservation = Reservation(
        id=new_uuid7(int(now.timestamp() * 1_000)),
        process_id=uuid4(),
        request_id=new_id("req"),
        project_id="proj_default",
        user_id=None,
        key_id="key_test",
        operation="chat.completions",
        upstream="openai",
        model="gpt-4o-mini",
        streamed=True,
        ceiling_nano=Nano(9_000),
        price_id="a price",
        started_at=now,
    )
    return reservation._replace(**changes)


def open_budgets(db: Database, lease_seconds: float = 60) -> BudgetService:
    """Return the budgets of a process of its own, with a ledger of its own."""
    return BudgetService(db, open_ledger(db), BudgetsSettings(lease_seconds=lease_seconds), utc_now)


async def open_reservations(db: Database) -> int:
    async with db.hot_connection() as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM reservations")
        return count


async def ledger_rows(db: Database) -> list[tuple[str, str, int, list[str]]]:
    """Return (request id, ending, cost, flags) of every entry."""
    async with db.hot_connection() as connection:
        rows = await connection.fetch("SELECT request_id, ending, cost_nano, flags FROM ledger_entries")
        return [tuple(row) for row in rows]


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    db = open_database(settings)
    await open_ledger(db).create_partitions()
    async with db.hot_connection() as connection:  # other tests of this worker may have left some
        await connection.execute("TRUNCATE ledger_entries, reservations")
    yield db
    async with db.hot_connection() as connection:
        await connection.execute("TRUNCATE ledger_entries, reservations, processes")
    await db.close()
