"""What the operating system says: which cores there are, and what processes take of them, of memory and of files.

From /proc where there is one; elsewhere what `ps` knows.
"""

import math
import os
import platform
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
_LISTENS = "0A"
_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
GATEWAY_CORES = frozenset(_CORES[:1])
OTHER_CORES = frozenset(_CORES[1:]) or GATEWAY_CORES
ALL_CORES = frozenset(_CORES)


def pin(pid: int, cores: Iterable[int]) -> None:
    """Keep all threads of *pid*, 0 for this process, on *cores*, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for task in PROC.glob(f"{pid or os.getpid()}/task/*"):
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), cores)


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the CPU time that the system has charged *pids* for, all their threads together; NaN for none."""
    return sum(_cpu_seconds(pid) for pid in pids) if pids else math.nan


def _cpu_seconds(pid: int) -> float:
    if PROC.exists():
        # What clock_getcpuclockid(3) returns for it: exact, where /proc/PID/stat has steps of 10 ms.
        return time.clock_gettime(~pid << 3 | 2)
    minutes, _, seconds = _ps("time", pid).rpartition(":")
    whole = sum(60 ** (i + 1) * float(part) for i, part in enumerate(reversed(minutes.split(":"))))
    return float(whole + float(seconds))


def resident_kib(pid: int) -> int:
    """Return how much memory *pid* has, shared pages included."""
    return int(_ps("rss", pid))


def proportional_kib(pids: Iterable[int]) -> int | None:
    """Return how much memory *pids* have together, pages that they share counted once; None where that is not known."""
    try:
        return sum(_field_kib(PROC / str(pid) / "smaps_rollup", "Pss") for pid in pids)
    except OSError:
        return None


def threads(pid: int) -> int:
    """Return how many threads *pid* has."""
    return len(list(PROC.glob(f"{pid}/task/*")))


def descriptors(pid: int) -> tuple[int, int]:
    """Return how many files *pid* has open, and how many of them are connections."""
    targets = _open_files(pid)
    return len(targets), sum(target.startswith("socket:") for target in targets)


def listening(port: int) -> tuple[int, ...]:
    """Return the processes that accept connections on *port*, workers included; none where that is not known."""
    inodes = set()
    for table in (PROC / "net/tcp", PROC / "net/tcp6"):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[1].endswith(f":{port:04X}") and fields[3] == _LISTENS:
                inodes.add(f"socket:[{fields[9]}]")
    pids = (int(path.name) for path in PROC.glob("[0-9]*"))
    return tuple(pid for pid in pids if not inodes.isdisjoint(_open_files(pid)))


def servers_in(directory: str) -> list[int]:
    """Return the processes of the servers in *directory*: those that name it, and what they have started."""
    text = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [(int(pid), int(parent), rest) for pid, parent, rest in (line.split(None, 2) for line in text.splitlines())]
    parents = {pid for pid, _, rest in rows if directory in rest}
    return [pid for pid, parent, _ in rows if pid in parents or parent in parents]


def description() -> dict[str, str]:
    """Return what a reader of the figures wants to know of this machine."""
    found = re.search(r"^model name\s*: (.+)$", _text(PROC / "cpuinfo"), re.MULTILINE)
    return {
        "processor": found[1] if found else platform.processor() or platform.machine(),
        "cores": f"{os.cpu_count()}, of which {len(_CORES) or os.cpu_count()} may be used",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _open_files(pid: int) -> list[str]:
    found = []
    with suppress(PermissionError, FileNotFoundError, ProcessLookupError):
        for path in (PROC / str(pid) / "fd").iterdir():
            with suppress(FileNotFoundError):
                found.append(os.readlink(path))  # noqa: PTH115 - a path would have its own opinion of `socket:[1]`
    return found


def _field_kib(path: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(f"{name}:"))


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _ps(column: str, pid: int) -> str:
    text = subprocess.run(["ps", "-o", f"{column}=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return text.stdout.strip()
