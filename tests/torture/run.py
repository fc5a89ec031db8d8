"""One run: sets everything up, lets clients and killers loose, brings everything back, and asks the witnesses."""

import asyncio
import json
import shutil
import signal
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import aiohttp
import asyncpg
from pydantic import SecretStr

from app.core.clock import monotonic_seconds
from app.first_run import prepare
from app.settings import Settings
from tests.fixtures.own_servers import OwnServer
from tests.torture.asks import asks
from tests.torture.audit import Verdict, audit
from tests.torture.clients import Journal, LightClient
from tests.torture.evidence import Evidence
from tests.torture.processes import Program, data_directory, own_postgres, own_valkey
from tests.torture.schedule import Blow, plan_blows
from tests.torture.sdk_client import SdkClient
from tests.torture.tenants import KEYS, Tenants
from tests.torture.truth import ODD_MODEL, odd_price
from tests.torture.witnesses import read_account, read_rows, read_windows, wait_for_rest

PEPPER = "a-pepper-for-the-torture-run-of-32-characters"
LEASE_SECONDS = 1.5
_SDK_SHARE = 8
"""One client in so many uses the SDK."""
_PROGRESS_SECONDS = 5.0
_LIFE_SECONDS = 0.8
"""What a victim has between two blows, so that it comes to do something that can be broken off."""


class Options(NamedTuple):
    """How long and how hard."""

    seed: int
    seconds: float
    clients: int
    gateways: int
    logs: Path | None = None
    """Where the processes' logs are kept, if they are wanted."""


@dataclass
class Outcome:
    """What a run did, and what the audit says of it."""

    options: Options
    evidence: Evidence
    verdict: Verdict
    blows: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    cohorts: int = 0
    top_ups: int = 0
    failed_starts: int = 0


@dataclass
class _Machine:
    """Everything that runs."""

    postgres: OwnServer
    valkey: OwnServer
    simulator: Program
    gateways: list[Program]
    tenants: Tenants
    blows: Counter[str] = field(default_factory=Counter)


async def run_torture(options: Options, say: Callable[[str], None]) -> Outcome:
    """Run it all and return what came of it; *say* gets a line every few seconds."""
    begun = monotonic_seconds()
    async with _machine(options) as machine:
        journal = Journal()
        say(f"{len(machine.gateways)} gateways are up after {monotonic_seconds() - begun:.1f} s")
        await _torment(options, machine, journal, say)
        say("the clients have stopped; waiting for everything to come to rest")
        evidence = await _gather(machine, journal)
        return Outcome(
            options,
            evidence,
            audit(evidence),
            machine.blows,
            monotonic_seconds() - begun,
            len(machine.tenants.cohorts),
            machine.tenants.top_ups,
            sum(gateway.failed_starts for gateway in machine.gateways),
        )


@asynccontextmanager
async def _machine(options: Options) -> AsyncIterator[_Machine]:
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="weir-torture-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        if options.logs is not None:
            stack.callback(_keep_logs, directory, options.logs)
        data = data_directory(directory)
        stack.callback(data.close)
        postgres = stack.enter_context(own_postgres(data))
        valkey = stack.enter_context(own_valkey(data))
        async with AsyncExitStack() as programs:

            def program(name: str, *command: str, **variables: str) -> Program:
                made = Program(directory, name, *command, variables=variables)
                programs.push_async_callback(made.close)
                made.start()
                return made

            simulator = program("simulator", "simulate")
            tenants = Tenants(postgres.url, PEPPER, options.seed)
            await _furnish(postgres, tenants)
            variables = _variables(postgres, valkey, simulator)
            gateways = [program(f"gateway-{n}", "serve", **variables) for n in range(options.gateways)]
            for each in (simulator, *gateways):
                await each.wait_until_up()
            yield _Machine(postgres, valkey, simulator, gateways, tenants)


def _keep_logs(directory: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for log in directory.rglob("*.log"):
        shutil.copyfile(log, target / log.name)


async def _furnish(postgres: OwnServer, tenants: Tenants) -> None:
    """Make the schema, a price of our own, the first budgets and keys."""
    settings = Settings()
    keys = settings.keys.model_copy(update={"pepper": SecretStr(PEPPER)})
    await prepare(
        settings.model_copy(update={"database_url": SecretStr(postgres.url), "keys": keys}),
        migrate=True,
    )
    price = odd_price()
    await tenants.execute(
        lambda connection: connection.execute(
            "INSERT INTO prices (id, model, service_tier, valid_from, document, source) "
            "VALUES ($1, $1, 'default', '2020-01-01', $2, 'operator')",
            ODD_MODEL,
            json.dumps(price),
        )
    )
    await tenants.make_organization()
    for _ in range(3):  # so that there are old ones from the first call on
        await tenants.open_cohort()


def _variables(postgres: OwnServer, valkey: OwnServer, simulator: Program) -> dict[str, str]:
    return {
        "WEIR_DATABASE_URL": postgres.url,
        "WEIR_REDIS_URL": valkey.url,
        "WEIR_KEYS__PEPPER": PEPPER,
        "WEIR_LOG__FORMAT": "json",
        "WEIR_SERVER__WORKERS": "1",
        "WEIR_BUDGETS__LEASE_SECONDS": str(LEASE_SECONDS),
        "WEIR_BUDGETS__HEARTBEAT_INTERVAL_SECONDS": "0.2",
        "WEIR_BUDGETS__OUTPUT_TOKENS_DEFAULT": "150",
        "WEIR_BUDGETS__OUTPUT_TOKENS_MIN": "16",
        "WEIR_UPSTREAM__FIRST_BYTE_TIMEOUT_SECONDS": "3",
        "WEIR_UPSTREAM__BETWEEN_CHUNKS_TIMEOUT_SECONDS": "3",
        "WEIR_LEDGER__ROLLUP_INTERVAL_SECONDS": "1",
        "OPENAI_API_KEY": "sk-torture",
        "OPENAI_BASE_URL": f"{simulator.base_url}/v1",
    }


async def _torment(options: Options, machine: _Machine, journal: Journal, say: Callable[[str], None]) -> None:
    """Let the clients call until the time is over, while processes are killed."""
    end = monotonic_seconds() + options.seconds

    def is_over() -> bool:
        return monotonic_seconds() > end

    sdk = SdkClient(machine.gateways, machine.tenants, journal)
    light = LightClient(machine.gateways, machine.tenants, journal)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sdk.close)
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        background = [
            asyncio.create_task(machine.tenants.top_up()),
            asyncio.create_task(_report_progress(machine, journal, say)),
        ]
        killer = asyncio.create_task(
            _deal(plan_blows(options.seed, options.seconds, options.gateways), machine, is_over)
        )
        async with asyncio.TaskGroup() as group:
            for client in range(options.clients):
                through_sdk = client % _SDK_SHARE == _SDK_SHARE - 1
                wanted = asks(options.seed, client, keys=KEYS, through_sdk=through_sdk)
                if through_sdk:
                    group.create_task(sdk.run(wanted, is_over))
                else:
                    group.create_task(light.run(session, wanted, is_over))
        await killer
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


async def _deal(blows: list[Blow], machine: _Machine, is_over: Callable[[], bool]) -> None:
    """Deal the blows, those for gateways, PostgreSQL and Valkey at the same time, each when its time has come."""
    lanes: defaultdict[str, list[Blow]] = defaultdict(list)
    for blow in blows:
        lanes["gateway" if blow.kind == "freeze" else blow.kind].append(blow)
    begun = monotonic_seconds()
    await asyncio.gather(*(_deal_in_turn(lane, begun, machine, is_over) for lane in lanes.values()))


async def _deal_in_turn(blows: list[Blow], begun: float, machine: _Machine, is_over: Callable[[], bool]) -> None:
    """Deal blows one after the other, each once its victim is there; undo them as they say."""
    is_back: dict[int, asyncio.Task[None]] = {}
    for blow in blows:
        victim = blow.gateway if blow.kind in ("gateway", "freeze") else 0
        await asyncio.sleep(max(0.0, begun + blow.at_seconds - monotonic_seconds()))
        if victim in is_back:
            await is_back[victim]
        if blow.kind != "valkey" and blow.spares_others:
            with suppress(TimeoutError):
                await asyncio.gather(*(gateway.wait_until_up(20) for gateway in machine.gateways))
        if is_over():
            break
        machine.blows[blow.kind] += 1
        is_back[victim] = asyncio.create_task(_deal_one(blow, machine))
        if blow.kind == "freeze":  # it is the others who must take it for dead, and be proven wrong
            await is_back[victim]
    await asyncio.gather(*is_back.values())


async def _deal_one(blow: Blow, machine: _Machine) -> None:
    """Deal one blow, and return when its victim is back and had a moment to live."""
    gateway = machine.gateways[blow.gateway]
    if blow.kind == "gateway":
        await gateway.kill()
        await asyncio.sleep(blow.away_seconds)
        gateway.start()
        with suppress(TimeoutError):
            await gateway.wait_until_up(20)
    elif blow.kind == "freeze":
        gateway.send(signal.SIGSTOP)
        await asyncio.sleep(blow.away_seconds)
        gateway.send(signal.SIGCONT)
    else:
        server = machine.postgres if blow.kind == "postgres" else machine.valkey
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(blow.away_seconds)
        await asyncio.to_thread(server.start)
    await asyncio.sleep(_LIFE_SECONDS)


async def _report_progress(machine: _Machine, journal: Journal, say: Callable[[str], None]) -> None:
    begun = monotonic_seconds()
    while True:
        await asyncio.sleep(_PROGRESS_SECONDS)
        fates = Counter(str(seen.status or seen.fate) for seen in list(journal.seen.values()))
        dealt = ", ".join(f"{count} {kind}" for kind, count in sorted(machine.blows.items()))
        told = ", ".join(f"{count} {fate}" for fate, count in fates.most_common(8))
        say(f"{monotonic_seconds() - begun:5.0f} s: blows: {dealt}; cohorts: {len(machine.tenants.cohorts)}; {told}")


async def _gather(machine: _Machine, journal: Journal) -> Evidence:
    """Bring everything up, wait until it rests, and return what the witnesses say."""
    for gateway in machine.gateways:
        await gateway.wait_until_up()
    connection = await asyncpg.connect(machine.postgres.url)
    try:
        await wait_for_rest(connection, machine.simulator.base_url, machine.gateways)
        return Evidence(
            served=await read_account(machine.simulator.base_url),
            rows=await read_rows(connection),
            windows=await read_windows(connection),
            seen=list(journal.seen.values()),
            open_reservations=[row[0] for row in await connection.fetch("SELECT request_id FROM reservations")],
            processes=await connection.fetchval("SELECT count(*) FROM processes"),
            gateways=len(machine.gateways),
            early_sights=machine.tenants.early_sights,
        )
    finally:
        await connection.close()
