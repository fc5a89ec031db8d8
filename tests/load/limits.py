"""What limits cost the gateway: calls that do nothing else, each under four limits that all of them share."""

import asyncio
import statistics
import time

import uvloop
from prometheus_client import CollectorRegistry

from app.core.db import Database
from app.core.health import Dependency
from app.core.redis import Redis
from app.embedded.datadir import DataDirectory
from app.embedded.process import Server
from app.embedded.valkey import Valkey
from app.limits.amounts import Amounts, Demand
from app.limits.lease import OpenLeases
from app.limits.limit import LimitBook, Payer
from app.limits.service import LimitService
from app.limits.store import LimitStore
from app.observability.metrics import Metrics
from app.settings import Settings
from tests.fixtures.limits import make_limit
from tests.load.machine import GATEWAY_CORES, OTHER_CORES, pin
from tests.load.options import Options
from tests.load.report import Report
from tests.process.weir_process import empty_directory

TITLE = "Limits alone"
HOW = (
    "Acquiring and adjusting, called without HTTP, under four limits that all calls share. One core for the calls, the "
    "others for Valkey."
)
PAYER = Payer("proj_bench", "user_bench", None, "key_bench", "gpt-4o-mini")
DEMAND = Demand(Amounts(input_tokens=100, output_tokens=500))
USED = Amounts(input_tokens=90, output_tokens=70)


class Round:
    """Figures of one round."""

    def __init__(self) -> None:
        self.calls = 0
        self.acquire_ms: list[float] = []
        self.cpu_seconds = self.seconds = 0.0


async def callers(limits: LimitService, concurrency: int, seconds: float) -> Round:
    """Acquire and adjust in so many callers at once for a round."""
    figures = Round()
    deadline = time.perf_counter() + seconds

    async def caller() -> None:
        while True:
            started = time.perf_counter()
            lease = await limits.acquire(PAYER, lambda _: DEMAND)
            figures.acquire_ms.append((time.perf_counter() - started) * 1_000)
            limits.adjust(lease, USED)
            figures.calls += 1
            if time.perf_counter() >= deadline:
                return

    started, before = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(concurrency)))
    figures.cpu_seconds, figures.seconds = time.process_time() - before, time.perf_counter() - started
    return figures


async def measure(redis_url: str, report: Report, options: Options) -> None:
    settings = Settings()
    redis = Redis(redis_url, settings.redis, Dependency("redis"))
    store = LimitStore(redis, Dependency("limits"), open_leases := OpenLeases(), timeout_seconds=1.0)
    db = Database("postgresql://nobody@localhost/none", settings.database, Dependency("database"))
    limits = LimitService(db, store, open_leases, settings.limits, Metrics(CollectorRegistry()))
    of_all = {"maximum": 10**12}
    limits._book = LimitBook(
        [
            make_limit(**of_all),
            make_limit(scope="project", counts="tokens", **of_all),
            make_limit(scope="user", per="day", **of_all),
            make_limit(scope="api_key", counts="concurrent", **of_all),
        ]
    )
    table = report.table("at once", "calls/s", "CPU us/call", "acquire p50 ms", "acquire p99 ms")
    for concurrency in (1, 32, 512):
        rounds = [await callers(limits, concurrency, options.seconds) for _ in range(options.rounds + 1)][1:]
        calls = statistics.median(each.calls / each.seconds for each in rounds)
        cpu_us = statistics.median(each.cpu_seconds / each.calls * 1e6 for each in rounds)
        waits = sorted(ms for each in rounds for ms in each.acquire_ms)
        p50, p99 = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
        table.row(concurrency, f"{calls:.0f}", f"{cpu_us:.0f}", f"{p50:.2f}", f"{p99:.2f}")
    assert store.health.is_up, "Redis was lost, so its share was measured"
    await store.close()
    await redis.close()
    await db.close()


def step(report: Report, options: Options) -> None:
    """Measure it in this process."""
    pin(0, OTHER_CORES)  # the server that is started here inherits it
    with empty_directory() as directory:
        valkey = Valkey(DataDirectory(directory / "data"), durable=False)
        server = Server(valkey.prepare())
        try:
            server.wait_until_ready()
            pin(0, GATEWAY_CORES)
            uvloop.run(measure(valkey.url(), report, options))
        finally:
            server.stop()
