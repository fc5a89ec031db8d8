"""`make bench`: what a call costs, beside a bare relay that does nothing, in alternating rounds of one run.

Loopback only, about a minute. The gateway has one core, load and upstream the other, where the system can pin.
CPU per call is what the operating system charged the gateway's process for it.
"""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import uvloop

from tests.load.generator import chat_request, load

CONNECTIONS = 32
ROUND_SECONDS = 3.0
ROUNDS = 5
KEY = "bench-key-of-32-characters-or-more-000"
BODIES = {
    "plain": b'{"model":"sim-small;output_tokens=50","messages":[{"role":"user","content":"Say hello to everybody."}]}',
    "stream": b'{"model":"sim-small;output_tokens=100","stream":true,"messages":[{"role":"user","content":"Hello."}]}',
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def process(arguments: list[str], port: int, core: int, **environment: str) -> Iterator[int]:
    """Run a Python program that listens on *port*, on one core; yields its process id."""
    with subprocess.Popen(
        [sys.executable, "-m", *arguments], env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    ) as child:
        try:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(child.pid, {core % (os.cpu_count() or 1)})
            deadline = time.monotonic() + 30
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert child.poll() is None, f"{arguments} ended"
                assert time.monotonic() < deadline, f"{arguments} did not start"
                time.sleep(0.05)
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


class Round(NamedTuple):
    """The figures of one round."""

    calls_per_second: float
    cpu_us_per_call: float
    p50_ms: float
    p99_ms: float


def measure(port: int, pid: int, body: bytes) -> Round:
    """Load one gateway for a round."""
    before = cpu_seconds(pid)
    request = chat_request(port, KEY, body)
    result = uvloop.run(load(port, request, connections=CONNECTIONS, seconds=ROUND_SECONDS))
    assert result.failures == 0, f"{result.failures} calls failed"
    cpu_us = (cpu_seconds(pid) - before) / result.calls * 1e6
    return Round(result.calls / result.seconds, cpu_us, result.percentile_ms(0.5), result.percentile_ms(0.99))


def main() -> None:
    with ExitStack() as stack:
        simulator, relay, weir = free_port(), free_port(), free_port()
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="weir-bench-"))
        Path(directory).chmod(0o711)
        stack.enter_context(process(["app", "simulate", "--port", str(simulator)], simulator, core=1))
        upstream = f"http://127.0.0.1:{simulator}"
        bare = ["uvicorn", "tests.load.bare_relay:app", "--port", str(relay), "--no-access-log", "--log-level", "error"]
        pids = {
            "bare relay": (relay, stack.enter_context(process(bare, relay, core=0, BARE_RELAY_UPSTREAM=upstream))),
            "weir": (
                weir,
                stack.enter_context(
                    process(
                        ["app", "serve", "--port", str(weir)],
                        weir,
                        core=0,
                        WEIR_DATA_DIR=f"{directory}/data",
                        WEIR_BOOTSTRAP_API_KEY=KEY,
                        OPENAI_API_KEY="bench",
                        OPENAI_BASE_URL=f"{upstream}/v1",
                    )
                ),
            ),
        }
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
        asyncio.run(asyncio.sleep(1.0))
        print(f"{CONNECTIONS} concurrent calls, one core for the gateway, medians of {ROUNDS} rounds\n")
        for kind, body in BODIES.items():
            rounds: dict[str, list[Round]] = {name: [] for name in pids}
            for number in range(ROUNDS + 1):
                for name, (port, pid) in pids.items():
                    figures = measure(port, pid, body)
                    if number:  # the first round warms up
                        rounds[name].append(figures)
            print(f"{kind:8} {'calls/s':>9} {'CPU us/call':>12} {'p50 ms':>8} {'p99 ms':>8}")
            medians = {name: Round(*map(statistics.median, zip(*of, strict=True))) for name, of in rounds.items()}
            for name, (rate, cpu_us, p50_ms, p99_ms) in medians.items():
                print(f"{name:>12} {rate:>5.0f} {cpu_us:>12.0f} {p50_ms:>8.1f} {p99_ms:>8.1f}")
            ratio = medians["weir"].cpu_us_per_call / medians["bare relay"].cpu_us_per_call
            print(f"Weir's CPU per call is {ratio:.2f} times the bare relay's.\n")


if __name__ == "__main__":
    main()
