"""What callers notice of a black hole: three upstreams at a steady rate of calls, and then one that swallows them."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from tests.fixtures.ports import free_port
from tests.load.gateways import simulator, weir
from tests.load.generator import chat_request, percentile_ms
from tests.load.machine import OTHER_CORES, pin
from tests.load.options import Options
from tests.load.report import Report, Table
from tests.load.rules import KEY, administering

TITLE = "A third of the upstreams is a black hole"
HOW = (
    "Three upstreams that take 40 ms, at 50 calls a second. Then one of them swallows everything: once it takes calls "
    "and never answers, once it takes no connections either. Nobody tells Weir. No call may fail, and none may go "
    "there after the first second."
)
CALLS_PER_SECOND = 50
_LENGTH_IN_ROUNDS = 5
BODY = b'{"model":"sim-small;latency_ms=40","messages":[{"role":"user","content":"Say hello to everybody."}]}'
KINDS = {"never answers": True, "takes no connections": False}


class Call(NamedTuple):
    """How one call went; seconds, the first since the round began."""

    at_seconds: float
    seconds: float
    is_answered: bool


class Gate:
    """Stands before an upstream and hands everything on, until it is told to swallow it."""

    def __init__(self, port: int, behind: int) -> None:
        self.port = port
        self.swallowed_at: list[float] = []
        """When a call came that went nowhere, on the event loop's clock."""
        self._behind = behind
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self._listener.setblocking(False)
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fillers: list[socket.socket] = []
        self._accepting = asyncio.create_task(self._accept())

    def swallow(self, *, accepts: bool) -> None:
        """From now on answer nothing; unless it *accepts*, take no connections either."""
        self._is_open.clear()
        if accepts:
            return
        self._accepting.cancel()
        self._listener.listen(0)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())
            self._fillers.append(filler)

    async def close(self) -> None:
        for task in (self._accepting, *self._tasks):
            task.cancel()
        await asyncio.wait([self._accepting, *self._tasks])
        for each in (self._listener, *self._fillers):
            each.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._listener)
            task = loop.create_task(self._relay(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _relay(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        try:
            await asyncio.gather(self._pump(reader, to_writer, is_calls=True), self._pump(to_reader, writer))
        except (ConnectionError, EOFError):
            pass
        finally:
            writer.close()
            to_writer.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_calls: bool = False
    ) -> None:
        while data := await reader.read(65_536):
            if is_calls and not self._is_open.is_set() and data.startswith(b"POST "):
                self.swallowed_at.append(asyncio.get_running_loop().time())
            await self._is_open.wait()
            writer.write(data)
            await writer.drain()
        raise EOFError


async def call(port: int, request: bytes, started: float) -> Call:
    """Make one call on a connection of its own."""
    loop = asyncio.get_running_loop()
    before = loop.time()
    is_answered = False
    with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            is_answered = head.startswith(b"HTTP/1.1 200 ")
            writer.close()
            await writer.wait_closed()
    return Call(before - started, loop.time() - before, is_answered)


async def round_of_calls(port: int, seconds: float) -> list[Call]:
    """Begin calls at a steady rate, whatever becomes of those before, and return how they went."""
    loop = asyncio.get_running_loop()
    request = chat_request(port, KEY, BODY)
    started = loop.time()
    calls = []
    for number in range(int(CALLS_PER_SECOND * seconds)):
        await asyncio.sleep(max(0.0, started + number / CALLS_PER_SECOND - loop.time()))
        calls.append(asyncio.create_task(call(port, request, started)))
    return await asyncio.gather(*calls)


def show(table: Table, name: str, calls: Sequence[Call]) -> float:
    """Add the figures of *calls*; return the p99 in milliseconds."""
    taken = [each.seconds for each in calls]
    failed = sum(not each.is_answered for each in calls)
    figures = [percentile_ms(taken, share) for share in (0.5, 0.99, 1.0)]
    table.row(name, len(calls), failed, *(f"{figure:.1f}" for figure in figures))
    return figures[1]


async def add(port: int, name: str, address: str) -> str:
    """Give the Weir on *port* one more upstream; return its id."""
    new = {"name": name, "base_url": f"{address}/v1", "api_key": "bench", "models": ["sim-*"]}
    async with administering(port) as client:
        answer = (await client.post("/gateway/upstreams", json=new)).raise_for_status()
    made: str = answer.json()["id"]
    return made


async def measure(report: Report, seconds: float, port: int, third: int, kind: str) -> None:
    gate_port = free_port()
    gate = Gate(gate_port, third)
    made = await add(port, "third", f"http://127.0.0.1:{gate_port}")
    await round_of_calls(port, seconds)  # warms up
    table = report.table(f"a third {kind}", "calls", "failed", "p50 ms", "p99 ms", "max ms")
    healthy = show(table, "before", await round_of_calls(port, seconds))
    began = asyncio.get_running_loop().time()
    gate.swallow(accepts=KINDS[kind])
    calls = await round_of_calls(port, seconds)
    show(table, "in the first second", [each for each in calls if each.at_seconds < 1])
    p99 = show(table, "after it", [each for each in calls if each.at_seconds >= 1])
    late = sum(at - began >= 1 for at in gate.swallowed_at)
    report.say(
        f"{len(gate.swallowed_at)} calls went into the hole, {late} of them after the first second. After it the "
        f"p99 is {p99 / healthy:.2f} times that of before."
    )
    async with administering(port) as client:
        (await client.delete(f"/gateway/upstreams/{made}")).raise_for_status()
    await gate.close()
    assert all(each.is_answered for each in calls), "a call failed"
    assert late == 0, "calls went into a known hole"


def step(report: Report, options: Options) -> None:
    """Measure both kinds of a black hole."""
    seconds = max(2.0, _LENGTH_IN_ROUNDS * options.seconds)
    with ExitStack() as stack:
        first, second, third = (simulator(stack) for _ in range(3))
        gateway = weir(stack, first, "weir")
        pin(0, OTHER_CORES)
        asyncio.run(add(gateway.port, "second", second.upstream))
        for kind in KINDS:
            asyncio.run(measure(report, seconds, gateway.port, third.port, kind))
