from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from app.budgets.admission import Demand
from app.budgets.reservation import Reservation
from app.budgets.service import BudgetService
from app.core.clock import utc_now
from app.core.db import Database
from app.core.ids import new_id, new_uuid7
from app.core.money import Nano
from app.idempotency.service import IdempotencyService
from app.setting_groups import Budgets as BudgetsSettings
from app.setting_groups import Idempotency as IdempotencySettings
from app.settings import Settings
from tests.fixtures.emptying import empty
from tests.fixtures.weir import settle_all
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
    return replace(reservation, **changes)


def open_budgets(db: Database, lease_seconds: float = 60, **changes: Any) -> BudgetService:
    """Return the budgets of a process of its own, with a ledger of its own."""
    idempotency = IdempotencyService(db, IdempotencySettings())
    # A copy is not checked: a lease that is shorter than a heartbeat is how a process is taken for dead.
    settings = BudgetsSettings().model_copy(update={"lease_seconds": lease_seconds, **changes})
    return BudgetService(db, open_ledger(db), idempotency, settings, utc_now)


FIXED = Demand(Nano(9_000), Nano(9_000), Nano(9_000))
"""What the caller of `make_reservation` asks for."""


async def make_budget(db: Database, **changes: Any) -> str:
    """Put a budget into the database, for the whole organization unless *changes* say otherwise; return its id."""
    columns = {
        "id": new_id("bud"),
        "name": "A team's",
        "scope": "organization",
        "scope_id": None,
        "model": None,
        "period": "month",
        "time_zone": "UTC",
        "limit_nano": 90_000,
        "mode": "enforcing",
        "version": 1,
        "paused_at": None,
        **changes,
    }
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    async with db.hot_connection() as connection, connection.transaction():
        await connection.execute(
            f"INSERT INTO budgets ({', '.join(columns)}) VALUES ({places})",
            *columns.values(),
        )
        await connection.execute("UPDATE budget_versions SET version = version + 1")
    return str(columns["id"])


async def windows(db: Database, budget_id: str) -> list[tuple[int, int]]:
    """Return the (spent, reserved) of every window of a budget, oldest first."""
    async with db.hot_connection() as connection:
        query = "SELECT spent_nano, reserved_nano FROM budget_windows WHERE budget_id = $1 ORDER BY starts_at"
        return [tuple(row) for row in await connection.fetch(query, budget_id)]


async def open_reservations(db: Database) -> int:
    async with db.hot_connection() as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM reservations")
        return count


async def ledger_rows(db: Database) -> list[tuple[str, str, int, list[str]]]:
    """Return (request id, ending, cost, flags) of every entry."""
    async with db.hot_connection() as connection:
        rows = await connection.fetch("SELECT request_id, ending, cost_nano, flags FROM ledger_entries")
        return [tuple(row) for row in rows]


@pytest.fixture(params=["organization", "project"])
def owner(request: pytest.FixtureRequest) -> str:
    """Whose spend limits and alerts are tested."""
    return str(request.param)


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    db = open_database(settings)
    await settle_all()
    await open_ledger(db).create_partitions()
    async with db.hot_connection() as connection:  # other tests of this worker may have left some
        await empty(connection, "processes")
    yield db
    async with db.hot_connection() as connection:
        await empty(connection, "processes")
    await db.close()
