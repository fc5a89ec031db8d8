"""What a call costs as history and everything else grow: small and large Weirs in turn, in the same run."""

import asyncio
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import timedelta
from itertools import cycle
from typing import Final, NamedTuple

import asyncpg
import uvloop
from pydantic import SecretStr

from app.core.clock import utc_now
from app.embedded.servers import EmbeddedServers
from app.first_run import open_database, prepare
from app.keys import tokens
from app.ledger import repository as ledger
from app.settings import Settings
from tests.load.gateways import Behind, Gateway, Setup, new_directory, static_upstream, weir
from tests.load.generator import chat_request, paced
from tests.load.machine import ALL_CORES, OTHER_CORES, cpu_seconds, pin, servers_in
from tests.load.options import Options
from tests.load.report import Report
from tests.load.rounds import BASE_COLUMNS, PLAIN, alternate, same, show
from tests.load.rules import ADMIN_KEY, KEY, PEPPER
from tests.scale.filling import Sizes, fill

TITLE = "What a call costs as everything grows"
HOW = (
    "Plain calls as above, to several Weirs in turn. One has 10,000 calls in its ledger and 10 keys; the others have "
    "more of one thing each, all in force, filled in before they start. They rest before they are measured."
)
_MIDDLE_LEDGER: Final = 1_000_000
_KEYS: Final = (1_000, 100_000)
_RULES: Final = (1_000, 100_000)
"""Budgets, and as many limits."""
_UPSTREAMS: Final = (1_000,)
_CALLERS_MAX: Final = 100
_REST_SECONDS_MAX: Final = 120.0
_KEY_TABLES: Final = frozenset({"projects", "users", "project_members", "api_keys"})
_IN_FORCE: Final = (
    "UPDATE projects SET archived_at = NULL",
    "UPDATE users SET disabled_at = NULL",
    "UPDATE api_keys SET revoked_at = NULL",
    "UPDATE budgets SET archived_at = NULL",
)
_INSERT_UPSTREAMS: Final = """
INSERT INTO upstreams (id, name, provider, base_url, models, aliases, priority, weight, enabled, version)
SELECT 'upstream_' || n, 'other-' || n, 'openai', $1 || '/v1', ARRAY['other-' || n || '-*'], '{}', 0, 100, true, 1
FROM generate_series(1, $2::int) AS n
"""


class Grown(NamedTuple):
    """How much a Weir has."""

    calls: int = 10_000
    keys: int = 10
    rules: int = 0
    upstreams: int = 0


def step(report: Report, options: Options) -> None:
    """Measure the small one and each of the large ones in turn."""
    ledgers, keys, rules, upstreams = (
        sorted({min(size, options.rows) for size in sizes})
        for sizes in ((_MIDDLE_LEDGER, options.rows), _KEYS, _RULES, _UPSTREAMS)
    )
    large_keys, rows = keys[-1], f"a ledger of {options.rows:,} rows"
    weirs = {
        "at the start": Grown(),
        **{f"a ledger of {count:,} rows": Grown(calls=count) for count in ledgers},
        **{f"{count:,} keys": Grown(keys=count) for count in keys},
        **{f"{count:,} budgets and as many limits": Grown(rules=count) for count in rules},
        **{f"{count:,} upstreams": Grown(upstreams=count) for count in upstreams},
    }
    with ExitStack() as stack:
        behind = static_upstream(stack)
        loads: dict[str, tuple[Gateway, Iterator[bytes]]] = {}
        callers: dict[int, Gateway] = {}
        for name, grown in weirs.items():
            gateway = _started(stack, behind, name, grown)
            loads[name] = gateway, same(PLAIN)(gateway)
            callers.setdefault(grown.keys, gateway)
        few, many = (_callers_name(count) for count in (10, large_keys))
        for name, count in ((few, 10), (many, large_keys)):
            loads[name] = callers[count], _by_turns(callers[count], count)
        pin(0, OTHER_CORES)
        for gateway in {gateway for gateway, _ in loads.values()}:
            _rest(gateway)
        for name in (few, many):
            first, later = (_cpu_us_of_a_pass(*loads[name]) for _ in range(2))
            report.say(
                f"{name}, at {_CALLERS_MAX} calls a second: {first:.0f} us of CPU per call in the first second, "
                f"{later:.0f} us in the next. A key in use is looked up again every 25 seconds or so, "
                "in the background and with others."
            )
        medians = alternate(report, options, kind := "plain calls", loads)
    start = next(iter(weirs))
    show(report.table(kind, *BASE_COLUMNS, "beside the start"), medians, start)
    for target, name, base, what in (("history", rows, start, "rows"), ("keys", many, few, "keys")):
        ratio = medians[name].cpu_us / medians[base].cpu_us
        count = options.rows if what == "rows" else large_keys
        report.target(target, f"{ratio:.2f} times, {count:,} {what}", is_met=ratio <= 1.1)
    report.say(
        "The last two rows are calls of several keys in turn, under the organization's rules alone: their costs are to "
        "be compared with each other. A larger ledger: `make bench ROWS=10000000`."
    )


def _cpu_us_of_a_pass(gateway: Gateway, requests: Iterator[bytes]) -> float:
    """Return what a call costs when each key that calls is used about once in a second."""
    before = cpu_seconds(gateway.pids)
    result = uvloop.run(paced(gateway.port, requests, _CALLERS_MAX, 1.0)).require_success()
    return (cpu_seconds(gateway.pids) - before) / result.calls * 1e6


def _callers_name(keys: int) -> str:
    return f"{min(keys, _CALLERS_MAX)} of {keys:,} keys call"


def _started(stack: ExitStack, behind: Behind, name: str, grown: Grown) -> Gateway:
    """Start a Weir that has so much."""
    pin(0, ALL_CORES)
    directory = stack.enter_context(new_directory())
    with EmbeddedServers(directory / "data", durable=False) as servers:  # only while it is filled
        keys = Settings().keys.model_copy(update={"pepper": SecretStr(PEPPER)})
        changes = {
            "database_url": SecretStr(servers.database_url),
            "keys": keys,
            "bootstrap_api_key": SecretStr(KEY),
            "bootstrap_admin_key": SecretStr(ADMIN_KEY),
        }
        asyncio.run(_fill(Settings().model_copy(update=changes), servers.database_url, behind, grown))
    return weir(stack, behind, name, Setup(directory=directory))


async def _fill(settings: Settings, url: str, behind: Behind, grown: Grown) -> None:
    await prepare(settings, migrate=True)
    days = max(1, utc_now().day - 1)  # into this month's partition, which calls are added to
    db = open_database(settings)
    async with db.transaction() as tx:
        await ledger.create_partitions(tx, utc_now() - timedelta(days=days), 3)
    await db.close()
    connection = await asyncpg.connect(url)
    try:
        await fill(connection, Sizes(grown.calls, grown.keys, days), _KEY_TABLES | {"ledger_entries", "usage_rollups"})
        if grown.rules:
            await fill(connection, Sizes(people=grown.rules), frozenset({"budgets"}))
            await fill(connection, Sizes(people=5 * grown.rules), frozenset({"limits"}))
        for statement in _IN_FORCE:
            await connection.execute(statement)
        await connection.execute(_INSERT_UPSTREAMS, behind.upstream, grown.upstreams)
        await _mint(connection, min(grown.keys, _CALLERS_MAX))
    finally:
        await connection.close()


async def _mint(connection: "asyncpg.Connection[asyncpg.Record]", count: int) -> None:
    """Have the first *count* keys be ones that can be used."""
    keys = {f"key_{number}": tokens.digest(_key(number), PEPPER.encode()) for number in range(1, count + 1)}
    await connection.execute(
        "UPDATE api_keys SET digest = new.digest FROM unnest($1::text[], $2::bytea[]) AS new (id, digest) "
        "WHERE api_keys.id = new.id",
        list(keys),
        list(keys.values()),
    )


def _key(number: int) -> str:
    return f"bench-caller-{number:06}-of-32-characters-or-more"


def _by_turns(gateway: Gateway, keys: int) -> Iterator[bytes]:
    """Return requests of several keys, one after the other."""
    numbers = range(1, min(keys, _CALLERS_MAX) + 1)
    return cycle([chat_request(gateway.port, _key(number), PLAIN) for number in numbers])


def _rest(gateway: Gateway) -> None:
    """Return when a Weir and its servers do next to nothing any more: what is new to them is added up at the start."""
    deadline = time.monotonic() + _REST_SECONDS_MAX
    pids = (*gateway.pids, *servers_in(f"{gateway.directory}/"))
    while time.monotonic() < deadline:
        before = _cpu_by_process(pids)
        time.sleep(1.0)
        after = _cpu_by_process(pids)
        if sum(after.values()) - sum(before.get(pid, 0.0) for pid in after) < 0.2:
            return


def _cpu_by_process(pids: Iterable[int]) -> Mapping[int, float]:
    """Return the CPU time of those that are still there."""
    found = {}
    for pid in pids:
        with suppress(OSError, subprocess.CalledProcessError):
            found[pid] = cpu_seconds([pid])
    return found
