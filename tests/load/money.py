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
from app.budgets.service import BudgetService
from app.core.clock import utc_now
from app.core.db import Database
from app.core.health import Dependency
from app.core.money import Nano
from app.embedded.servers import EmbeddedServers
from app.first_run import prepare
from app.idempotency.service import IdempotencyService
from app.ledger.service import LedgerService
from app.observability.metrics import Metrics
from app.settings import Settings
from tests.budgets.conftest import make_budget, make_entry, make_reservation

ROUNDS = 5
ROUND_SECONDS = 2.0
DEMAND = Demand(Nano(9_000), Nano(9_000), Nano(9_000))


class Round:
    """Figures of one round."""

    def __init__(self) -> None:
        self.calls = 0
        self.reserve_ms: list[float] = []
        self.cpu_seconds = 0.0


async def callers(budgets: BudgetService, concurrency: int) -> Round:
    """Reserve and settle in so many callers at once for a round."""
    figures = Round()
    deadline = time.monotonic() + ROUND_SECONDS

    async def caller() -> None:
        while time.monotonic() < deadline:
            reservation = make_reservation(process_id=budgets.process_id, user_id="user_bench")
            started = time.perf_counter()
            grant = await budgets.reserve(reservation, DEMAND)
            figures.reserve_ms.append((time.perf_counter() - started) * 1_000)
            assert grant is not None
            budgets.settle(
                make_entry(
                    id=reservation.id,
                    request_id=reservation.request_id,
                    ceiling_nano=grant.ceiling_nano,
                    budget_window_ids=grant.window_ids,
                )
            )
            figures.calls += 1

    before = time.process_time()
    await asyncio.gather(*(caller() for _ in range(concurrency)))
    await budgets._ledger.drain()
    figures.cpu_seconds = time.process_time() - before
    return figures


async def idle_cost() -> float:
    """Return the CPU seconds that making a reservation and an entry takes here, which is not the gateway's."""
    before = time.process_time()
    for _ in range(2_000):
        reservation = make_reservation()
        make_entry(id=reservation.id)
    return (time.process_time() - before) / 2_000


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
    own_us = await idle_cost() * 1e6
    print(f"{'concurrent':>10} {'calls/s':>9} {'CPU us/call':>12} {'reserve p50 ms':>15} {'p99 ms':>8}")
    for concurrency in (1, 32, 512):
        rounds = [await callers(budgets, concurrency) for _ in range(ROUNDS + 1)][1:]  # the first round warms up
        calls = statistics.median(each.calls for each in rounds) / ROUND_SECONDS
        cpu_us = statistics.median(each.cpu_seconds / each.calls * 1e6 for each in rounds) - own_us
        waits = sorted(ms for each in rounds for ms in each.reserve_ms)
        p50, p99 = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
        print(f"{concurrency:>10} {calls:>9.0f} {cpu_us:>12.0f} {p50:>15.2f} {p99:>8.2f}")
    async with db.hot_connection() as connection:
        rows = await connection.fetch("SELECT spent_nano, reserved_nano FROM budget_windows")
        entries = await connection.fetchval("SELECT sum(cost_nano) FROM ledger_entries")
    assert {(row[0], row[1]) for row in rows} == {(entries, 0)}, "the books do not add up"
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
        print("reserve + settle, on four budgets shared by all calls, fsync on\n")
        uvloop.run(measure(settings))


if __name__ == "__main__":
    main()
