"""The gateways that are measured: each a process of its own on one core, what it needs on the other where possible."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

KEY = "bench-key-of-32-characters-or-more-000"
ADMIN_KEY = "bench-admin-key-of-32-characters-or-more"
GATEWAY_CORE, OTHER_CORE = 0, 1
_PLENTY = 10**12


class Gateway(NamedTuple):
    """Something that answers `/v1/chat/completions`."""

    name: str
    port: int
    key: str = KEY
    pid: int | None = None
    """None for one that was started by somebody else, whose CPU is not known."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def pin(pid: int, core: int) -> None:
    """Keep *pid* on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, {core % (os.cpu_count() or 1)})


@contextmanager
def process(arguments: list[str], port: int, core: int, **environment: str) -> Iterator[int]:
    """Run a Python program that listens on *port*, on one core; yields its process id."""
    with subprocess.Popen(
        [sys.executable, "-m", *arguments], env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    ) as child:
        try:
            pin(child.pid, core)
            deadline = time.monotonic() + 30
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert child.poll() is None, f"{arguments} ended"
                assert time.monotonic() < deadline, f"{arguments} did not start"
                time.sleep(0.02)
            yield child.pid
        finally:
            child.terminate()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that the system has charged *pid* for."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        fields = stat.read_text().rsplit(")", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])
        return float(ticks / os.sysconf("SC_CLK_TCK"))
    text = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=True)
    minutes, _, seconds = text.stdout.split()[-1].rpartition(":")
    whole = sum(60 ** (i + 1) * float(part) for i, part in enumerate(reversed(minutes.split(":"))))
    return float(whole + float(seconds))


def resident_kib(pid: int) -> int:
    """Return how much memory *pid* has, shared pages included."""
    text = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    return int(text)


def simulator(stack: ExitStack) -> str:
    """Start the upstream of all; return its address."""
    port = free_port()
    stack.enter_context(process(["app", "simulate", "--port", str(port)], port, OTHER_CORE))
    return f"http://127.0.0.1:{port}"


def bare_relay(stack: ExitStack, upstream: str) -> Gateway:
    """Start the application that relays and does nothing else."""
    port = free_port()
    bare = ["uvicorn", "tests.load.bare_relay:app", "--port", str(port), "--no-access-log", "--log-level", "error"]
    return Gateway(
        "bare relay",
        port,
        pid=stack.enter_context(process(bare, port, GATEWAY_CORE, BARE_RELAY_UPSTREAM=upstream)),
    )


def weir_environment(data_dir: str, upstream: str) -> dict[str, str]:
    """Return the settings of a Weir with servers of its own."""
    return {
        "WEIR_DATA_DIR": data_dir,
        "WEIR_BOOTSTRAP_API_KEY": KEY,
        "WEIR_BOOTSTRAP_ADMIN_KEY": ADMIN_KEY,
        "OPENAI_API_KEY": "bench",
        "OPENAI_BASE_URL": f"{upstream}/v1",
    }


def weir(stack: ExitStack, upstream: str, name: str, *, with_rules: bool) -> Gateway:
    """Start a Weir, with budgets that enforce and limits that are shared by all calls if it is to have rules."""
    port = free_port()
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="weir-bench-"))
    Path(directory).chmod(0o711)
    environment = weir_environment(f"{directory}/data", upstream)
    pid = stack.enter_context(process(["app", "serve", "--port", str(port)], port, GATEWAY_CORE, **environment))
    for server in _named_by(directory):
        pin(server, OTHER_CORE)
    gateway = Gateway(name, port, pid=pid)
    if with_rules:
        asyncio.run(_make_rules(gateway))
    return gateway


def _named_by(directory: str) -> list[int]:
    """Return the processes of the servers in *directory*: those that name it, and what they have started."""
    text = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [(int(pid), int(parent), rest) for pid, parent, rest in (line.split(None, 2) for line in text.splitlines())]
    parents = {pid for pid, _, rest in rows if directory in rest and "app serve" not in rest}
    return [pid for pid, parent, _ in rows if pid in parents or parent in parents]


async def _make_rules(gateway: Gateway) -> None:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    url = f"http://127.0.0.1:{gateway.port}/v1"
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60.0) as client:  # it may still be starting
        keys = (await client.get("/organization/projects/proj_default/api_keys")).json()["data"]
        scopes = {"organization": None, "project": "proj_default", "api_key": keys[0]["id"]}
        counts = (("requests", "minute"), ("tokens", "day"), ("concurrent", None))
        for (scope, scope_id), (what, per) in zip(scopes.items(), counts, strict=True):
            rule = {"name": "bench", "scope": scope, "scope_id": scope_id}
            budget = {**rule, "period": "month", "limit_usd": "1000000"}
            limit = {**rule, "counts": what, "per": per, "maximum": _PLENTY}
            for path, made in (("/gateway/budgets", budget), ("/gateway/limits", limit)):
                answer = await client.post(path, json=made)
                assert answer.is_success, answer.text
    await asyncio.sleep(1.0)  # until every snapshot has them
