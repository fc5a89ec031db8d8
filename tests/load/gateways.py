"""The gateways that are measured: each on one core, and what they need on the others, where the system can pin."""

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, NamedTuple
from urllib.parse import urlsplit

from tests.fixtures.ports import free_port
from tests.load.machine import GATEWAY_CORES, OTHER_CORES, listening, pin, servers_in
from tests.load.rules import ADMIN_KEY, KEY, PEPPER, make_rules
from tests.process.weir_process import empty_directory, environment

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
_POLL_SECONDS = 0.01
_STOP_SECONDS = 40.0


class Gateway(NamedTuple):
    """Something that answers `/v1/chat/completions`."""

    name: str
    port: int
    key: str = KEY
    pids: tuple[int, ...] = ()
    """Its processes; none for one whose CPU is not known."""
    directory: Path | None = None
    """Where a Weir keeps its data."""
    headers: tuple[str, ...] = ()
    """What each request needs besides the key."""

    @property
    def pid(self) -> int:
        """The process of a gateway that is one."""
        [pid] = self.pids
        return pid


class Behind(NamedTuple):
    """What stands behind all gateways."""

    upstream: str
    collector: str
    """Takes traces."""

    @property
    def port(self) -> int:
        """The upstream's."""
        return urlsplit(self.upstream).port or 0


class Setup(NamedTuple):
    """How a Weir is to be: everything is on unless it says otherwise."""

    has_budgets: bool = True
    has_limits: bool = True
    variables: Mapping[str, str] = {}
    """More settings; an empty one is as if it was not there."""
    directory: Path | None = None
    """One that is filled already; a new one otherwise."""
    module: str = "app"
    """What is run with the arguments of `weir`."""


def is_listening(port: int) -> bool:
    """Tell whether somebody accepts connections on *port*."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def is_ready(port: int) -> bool:
    """Tell whether a Weir on *port* says that it can serve."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def new_directory() -> Iterator[Path]:
    """Yield a directory, which goes once the servers in it have: those of a Weir that was ended while it started."""
    with empty_directory() as directory:
        try:
            yield directory
        finally:
            deadline = time.monotonic() + _STOP_SECONDS
            while servers_in(f"{directory}/") and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)


@contextmanager
def process(
    arguments: list[str],
    port: int,
    cores: frozenset[int],
    directory: Path,
    variables: Mapping[str, str] = MappingProxyType({}),
    is_up: Callable[[int], bool] = is_listening,
) -> Iterator[int]:
    """Run a program until the block ends, logging into *directory*; yields its process id once *port* is up."""
    if is_listening(port):
        raise RuntimeError(f"port {port} is taken already")
    log = directory / f"{port}.log"
    with log.open("wb") as output, spawn(arguments, environment(directory, **variables), output) as child:
        try:
            wait_until_up(child, port, is_up, log)
            pin(child.pid, cores)
            yield child.pid
        finally:
            stop(child)


def spawn(arguments: list[str], variables: Mapping[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a program that a Ctrl-C in the terminal does not reach: who started it ends it, in good order."""
    return subprocess.Popen(
        arguments,
        env=variables,
        cwd=ROOT,
        stdout=output,
        stderr=output,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_until_up(child: subprocess.Popen[bytes], port: int, is_up: Callable[[int], bool], log: Path) -> None:
    """Return when *child* is up; raises RuntimeError with the end of its log when it has ended or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while not is_up(port):
        if child.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{child.args!r} did not start:\n{log.read_text('utf-8', 'replace')[-2_000:]}")
        time.sleep(_POLL_SECONDS)


def stop(child: subprocess.Popen[bytes]) -> None:
    """Return when *child* has ended, by force if it takes too long."""
    child.terminate()
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def python(module: str, *arguments: object) -> list[str]:
    """Return the command that runs *module*."""
    return [sys.executable, "-m", module, *(str(argument) for argument in arguments)]


def static_upstream(stack: ExitStack, port: int = 0) -> Behind:
    """Start an upstream that always answers the same at once, on *port* or any, and a collector of traces."""
    port = port or free_port()
    return _behind(stack, python("tests.load.upstream", port), port)


def simulator(stack: ExitStack) -> Behind:
    """Start a simulator, whose answers follow a script and which keeps an account, and a collector of traces."""
    port = free_port()
    return _behind(stack, python("app", "simulate", "--port", port), port)


def _behind(stack: ExitStack, upstream: list[str], port: int) -> Behind:
    collector = free_port()
    directory = stack.enter_context(new_directory())
    for command, number in ((upstream, port), (python("tests.load.collector", collector), collector)):
        stack.enter_context(process(command, number, OTHER_CORES, directory))
    return Behind(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{collector}")


def bare_relay(stack: ExitStack, behind: Behind) -> Gateway:
    """Start the application that relays and does nothing else."""
    port = free_port()
    command = python("uvicorn", "tests.load.bare_relay:app", "--port", port, "--no-access-log", "--log-level", "error")
    directory = stack.enter_context(new_directory())
    upstream = {"BARE_RELAY_UPSTREAM": behind.upstream}
    pid = stack.enter_context(process(command, port, GATEWAY_CORES, directory, upstream))
    return Gateway("bare relay", port, pids=(pid,))


def weir(stack: ExitStack, behind: Behind, name: str, setup: Setup = Setup()) -> Gateway:  # noqa: B008 - immutable
    """Start a Weir with servers of its own, and with rules that all calls share if it is to have any."""
    port = free_port()
    directory = setup.directory or stack.enter_context(new_directory())
    variables = {**weir_variables(directory, behind), **setup.variables}
    command = python(setup.module, "serve", "--port", port)
    pid = stack.enter_context(process(command, port, GATEWAY_CORES, directory, variables, is_ready))
    for server in servers_in(f"{directory}/"):
        pin(server, OTHER_CORES)
    asyncio.run(make_rules(port, directory, has_budgets=setup.has_budgets, has_limits=setup.has_limits))
    return Gateway(name, port, pids=(pid,), directory=directory)


def weir_variables(directory: Path, behind: Behind) -> dict[str, str]:
    """Return the settings of a Weir with servers of its own."""
    return {
        "WEIR_DATA_DIR": f"{directory}/data",
        "WEIR_KEYS__PEPPER": PEPPER,
        "WEIR_BOOTSTRAP_API_KEY": KEY,
        "WEIR_BOOTSTRAP_ADMIN_KEY": ADMIN_KEY,
        "WEIR_UPSTREAMS__ALLOW_PRIVATE_ADDRESSES": "true",
        "OPENAI_API_KEY": "bench",
        "OPENAI_BASE_URL": f"{behind.upstream}/v1",
        "WEIR_TRACING__OTLP_ENDPOINT": behind.collector,
        "WEIR_SERVER__SHUTDOWN_GRACE_SECONDS": "3",  # whoever interrupts a measurement leaves its calls open
    }


def be_alone() -> None:
    """Let no settings of Weir's from outside count, and end as by Ctrl-C by whichever signal."""
    for name in [name for name in os.environ if name.startswith(("WEIR_", "OPENAI_"))]:
        del os.environ[name]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def peer(text: str) -> Gateway:
    """Return the gateway that `NAME=URL,KEY,header: value` describes, with any number of headers.

    Raises argparse.ArgumentTypeError, whose text argparse shows.
    """
    name, _, rest = text.partition("=")
    url, _, rest = rest.partition(",")
    key, *headers = rest.split(",")
    try:
        host, port = urlsplit(url).hostname, urlsplit(url).port
    except ValueError:  # a port that is no number
        host = port = None
    if not name or not key or host not in ("127.0.0.1", "localhost") or port is None:
        raise ArgumentTypeError(f"a peer is NAME=http://127.0.0.1:PORT,KEY, not {text!r}")
    return Gateway(name, port, key, headers=tuple(headers))


def put_on_its_core(gateway: Gateway) -> Gateway:
    """Return a gateway that somebody else started with its processes, which are kept on the core of those measured."""
    pids = listening(gateway.port)
    for pid in pids:
        pin(pid, GATEWAY_CORES)
    return gateway._replace(pids=pids)
