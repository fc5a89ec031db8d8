"""What the tests of the embedded servers look with: at databases, at processes, at another Weir."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import asyncpg
import pytest
import redis


def fetch(url: str, statement: str) -> Any:
    """Return the first value that *statement* yields, on a connection and an event loop of its own."""

    async def connect_and_fetch() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return run(connect_and_fetch())


def write_row(url: str) -> str:
    """Commit one row in a table of its own, and return what `read_row` must find."""
    mark = secrets.token_hex(8)
    fetch(url, f"CREATE TABLE kept_{mark} AS SELECT '{mark}' AS mark")
    return mark


def read_row(url: str, mark: str) -> bool:
    """Tell whether the row is there."""
    return bool(fetch(url, f"SELECT mark FROM kept_{mark}") == mark)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run *coroutine* in a thread, where pytest's event loop is not disturbed."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def redis_call(url: str, *words: str) -> Any:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.execute_command(*words)


def eventually(condition: Callable[[], bool], *, seconds: float = 30) -> bool:
    """Tell whether *condition* comes true; give up after so many *seconds* of waiting."""
    return any(condition() or pause(0.01) for _ in range(int(seconds * 100)))


def pause(seconds: float = 1) -> bool:
    """Let time pass, for other processes to get on; return `False`, so that it fits in a condition."""
    return threading.Event().wait(seconds)


class WeirProcess:
    """`weir_process.py`, running: `said` is what it told."""

    def __init__(self, data_dir: Path, *options: str, wait: bool = True) -> None:
        script = Path(__file__).with_name("weir_process.py")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", script, data_dir, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
        self.said: dict[str, Any] = self._read() if wait else {}

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def end(self, *, kill: bool = False) -> None:
        if kill:
            self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def pids_that_name(path: Path) -> dict[int, str]:
    """Return the processes whose command line holds *path*, and that command line."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(path) in words:
            found[int(entry.parent.name)] = words
    return found


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changing users needs root")
needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="lists processes with /proc")
