"""What reserving and settling costs the gateway: calls that do nothing else, on four budgets that all of them share."""

import asyncio
import statistics
import time

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
from tests.load.machine import GATEWAY_CORES, OTHER_CORES, pin
from tests.load.options import Options
from tests.load.report import Report
from tests.process.weir_process import empty_directory

TITLE = "Money alone"
HOW = (
    "Reserving and settling, called without HTTP: each call holds its ceiling in four budgets that all share, and is "
    "settled, which it does not wait for. A PostgreSQL with `fsync`; one core for the calls, the others for the "
    "database."
)
CALLS_PER_SECOND = {1: 1_000, 32: 10_000, 512: 15_000}
"""How many in each second of a round, by how many at once."""
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


async def callers(budgets: BudgetService, ledger: LedgerService, concurrency: int, calls: list[Call]) -> Round:
    """Make *calls*, so many at once, none of which waits until it is settled; return when all are."""
    figures = Round()

    async def caller() -> None:
        while calls:
            reservation, entry = calls.pop()
            started = time.perf_counter()
            await budgets.reserve(reservation, DEMAND)
            figures.reserve_ms.append((time.perf_counter() - started) * 1_000)
            budgets.settle(entry)

    figures.calls = len(calls)
    started, before = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(concurrency)))
    await ledger.drain()
    figures.cpu_seconds, figures.seconds = time.process_time() - before, time.perf_counter() - started
    return figures


async def measure(settings: Settings, report: Report, options: Options) -> None:
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
    table = report.table("at once", "calls/s", "CPU us/call", "reserve p50 ms", "reserve p99 ms")
    for concurrency, rate in CALLS_PER_SECOND.items():
        count = max(1, int(rate * options.seconds))
        rounds = [
            await callers(budgets, ledger, concurrency, prepared(budgets, count, first.window_ids))
            for _ in range(options.rounds + 1)
        ][1:]  # the first one warms up
        calls = statistics.median(each.calls / each.seconds for each in rounds)
        cpu_us = statistics.median(each.cpu_seconds / each.calls * 1e6 for each in rounds)
        waits = sorted(ms for each in rounds for ms in each.reserve_ms)
        p50, p99 = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
        table.row(concurrency, f"{calls:.0f}", f"{cpu_us:.0f}", f"{p50:.2f}", f"{p99:.2f}")
    async with db.hot_connection() as connection:
        rows = await connection.fetch("SELECT spent_nano, reserved_nano FROM budget_windows")
        entries = await connection.fetchval("SELECT sum(cost_nano) FROM ledger_entries")
    assert {(row[0], row[1]) for row in rows} == {(entries, first.ceiling_nano)}, "the books do not add up"
    await budgets.close()
    await db.close()


def step(report: Report, options: Options) -> None:
    """Measure it in this process."""
    pin(0, OTHER_CORES)  # the server that is started here inherits it
    with empty_directory() as directory, EmbeddedServers(directory / "data") as servers:
        keys = Settings().keys.model_copy(update={"pepper": SecretStr("x" * 32)})
        settings = Settings().model_copy(update={"database_url": SecretStr(servers.database_url), "keys": keys})
        asyncio.run(prepare(settings, migrate=True))
        pin(0, GATEWAY_CORES)
        uvloop.run(measure(settings, report, options))
