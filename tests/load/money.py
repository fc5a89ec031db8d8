"""What reserving and settling costs the gateway: calls that do nothing else, on four budgets that all of them share.

A PostgreSQL of its own, with fsync; one core for the gateway, the other for the database, where the system can pin.
"""

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

import uvloop
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from app.budgets.admission import Demand
from app.budgets.reservation import Reservation
from app.budgets.service import BudgetService
from app.core.clock import utc_now
from app.core.db import Database
from app.core.health import Dependency
from app.core.money import Nano
from app.embedded.servers import EmbeddedServers
from app.first_run import prepare
from app.idempotency.service import IdempotencyService
from app.ledger.entries import Entry
from app.ledger.service import LedgerService
from app.observability.metrics import Metrics
from app.settings import Settings
from tests.budgets.conftest import make_budget, make_entry, make_reservation

ROUNDS = 5
CALLS = {1: 400, 32: 6_000, 512: 10_000}
"""How many in a round, by how many at once."""
DEMAND = Demand(Nano(9_000), Nano(9_000), Nano(9_000))


class Round:
    """Figures of one round."""

    def __init__(self) -> None:
        self.calls = 0
        self.reserve_ms: list[float] = []
        self.cpu_seconds = 0.0
        self.seconds = 0.0


Call = tuple[Reservation, Entry]


def prepared(budgets: BudgetService, count: int, window_ids: tuple[int, ...]) -> list[Call]:
    """Return reservations and the entries that settle them: making these is not what is measured."""
    made = []
    for _ in range(count):
        reservation = make_reservation(process_id=budgets.process_id, user_id="user_bench")
        ids = {"id": reservation.id, "request_id": reservation.request_id}
        entry = make_entry(**ids, ceiling_nano=DEMAND.capped_nano, budget_window_ids=window_ids)
        made.append((reservation, entry))
    return made


async def callers(budgets: BudgetService, concurrency: int, calls: list[Call]) -> Round:
    """Make *calls*, so many at once, each until it is settled."""
    figures = Round()

    async def caller() -> None:
        while calls:
            reservation, entry = calls.pop()
            started = time.perf_counter()
            await budgets.reserve(reservation, DEMAND)
            figures.reserve_ms.append((time.perf_counter() - started) * 1_000)
            await budgets.settle(entry)

    figures.calls = len(calls)
    started, before = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(concurrency)))
    figures.cpu_seconds, figures.seconds = time.process_time() - before, time.perf_counter() - started
    return figures


async def measure(settings: Settings) -> None:
    assert settings.database_url is not None
    db = Database(settings.database_url.get_secret_value(), settings.database, Dependency("database"))
    ledger = LedgerService(db, db._health, settings.ledger, Metrics(CollectorRegistry()), utc_now)
    await ledger.create_partitions()
    budgets = BudgetService(db, ledger, IdempotencyService(db, settings.idempotency), settings.budgets, utc_now)
    await budgets.lease.beat()
    scopes = [("organization", None), ("project", "proj_default"), ("user", "user_bench"), ("api_key", "key_test")]
    for scope, scope_id in scopes:
        await make_budget(db, scope=scope, scope_id=scope_id, limit_nano=10**17)
    first = await budgets.reserve(make_reservation(process_id=budgets.process_id, user_id="user_bench"), DEMAND)
    assert first is not None
    print(f"{'concurrent':>10} {'calls/s':>9} {'CPU us/call':>12} {'reserve p50 ms':>15} {'p99 ms':>8}")
    for concurrency, count in CALLS.items():
        rounds = [
            await callers(budgets, concurrency, prepared(budgets, count, first.window_ids)) for _ in range(ROUNDS + 1)
        ][1:]  # the first one warms up
        calls = statistics.median(each.calls / each.seconds for each in rounds)
        cpu_us = statistics.median(each.cpu_seconds / each.calls * 1e6 for each in rounds)
        waits = sorted(ms for each in rounds for ms in each.reserve_ms)
        p50, p99 = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
        print(f"{concurrency:>10} {calls:>9.0f} {cpu_us:>12.0f} {p50:>15.2f} {p99:>8.2f}")
    async with db.hot_connection() as connection:
        rows = await connection.fetch("SELECT spent_nano, reserved_nano FROM budget_windows")
        entries = await connection.fetchval("SELECT sum(cost_nano) FROM ledger_entries")
    assert {(row[0], row[1]) for row in rows} == {(entries, first.ceiling_nano)}, "the books do not add up"
    await budgets.close()
    await db.close()


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="weir-bench-"))
    directory.chmod(0o711)
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {1 % cores})  # the servers started here inherit it
    with EmbeddedServers(directory / "data") as servers:
        keys = Settings().keys.model_copy(update={"pepper": SecretStr("x" * 32)})
        settings = Settings().model_copy(update={"database_url": SecretStr(servers.database_url), "keys": keys})
        asyncio.run(prepare(settings, migrate=True))
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {0})
        print("reserve + settle, on four budgets shared by all calls, each until it is settled, fsync on\n")
        uvloop.run(measure(settings))


if __name__ == "__main__":
    main()
