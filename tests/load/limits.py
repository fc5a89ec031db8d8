"""What limits cost the gateway: calls that do nothing else, each under four limits that all of them share.

A Valkey of its own; one core for the gateway, the other for it, where the system can pin.
"""

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

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

ROUNDS = 5
ROUND_SECONDS = 2.0
PAYER = Payer("proj_bench", "user_bench", None, "key_bench", "gpt-4o-mini")
DEMAND = Demand(Amounts(input_tokens=100, output_tokens=500))
USED = Amounts(input_tokens=90, output_tokens=70)


class Round:
    """Figures of one round."""

    def __init__(self) -> None:
        self.calls = 0
        self.acquire_ms: list[float] = []
        self.cpu_seconds = 0.0


async def callers(limits: LimitService, concurrency: int) -> Round:
    """Acquire and adjust in so many callers at once for a round."""
    figures = Round()
    deadline = time.monotonic() + ROUND_SECONDS

    async def caller() -> None:
        while time.monotonic() < deadline:
            started = time.perf_counter()
            lease = await limits.acquire(PAYER, lambda _: DEMAND)
            figures.acquire_ms.append((time.perf_counter() - started) * 1_000)
            limits.adjust(lease, USED)
            figures.calls += 1

    before = time.process_time()
    await asyncio.gather(*(caller() for _ in range(concurrency)))
    figures.cpu_seconds = time.process_time() - before
    return figures


async def measure(redis_url: str) -> None:
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
    print(f"{'concurrent':>10} {'calls/s':>9} {'CPU us/call':>12} {'acquire p50 ms':>15} {'p99 ms':>8}")
    for concurrency in (1, 32, 512):
        rounds = [await callers(limits, concurrency) for _ in range(ROUNDS + 1)][1:]  # the first round warms up
        calls = statistics.median(each.calls for each in rounds) / ROUND_SECONDS
        cpu_us = statistics.median(each.cpu_seconds / each.calls * 1e6 for each in rounds)
        waits = sorted(ms for each in rounds for ms in each.acquire_ms)
        p50, p99 = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
        print(f"{concurrency:>10} {calls:>9.0f} {cpu_us:>12.0f} {p50:>15.2f} {p99:>8.2f}")
    assert store.health.is_up, "Redis was lost, so its share was measured"
    await store.close()
    await redis.close()
    await db.close()


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="weir-bench-"))
    directory.chmod(0o711)
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {1 % cores})  # the server started here inherits it
    valkey = Valkey(DataDirectory(directory / "data"), durable=False)
    server = Server(valkey.prepare())
    try:
        server.wait_until_ready()
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {0})
        print("acquire + adjust, under four limits shared by all calls\n")
        uvloop.run(measure(valkey.url()))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
