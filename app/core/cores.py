"""How many cores there are for this process, which in a container are fewer than the machine has."""

import os
from math import ceil
from pathlib import Path
from typing import Final

_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(quota: Path = _QUOTA) -> int:
    """Return how many cores this process can keep busy: those it may run on, as far as its container's quota goes.

    *quota* is what cgroup v2 says of it (https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files):
    microseconds of CPU, or `max`, and the microseconds in which they may be used. Where it is not there, nothing does.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        used, of = quota.read_text("ascii").split()
    except (OSError, ValueError):
        return cores
    return cores if used == "max" else max(1, min(cores, ceil(int(used) / int(of))))
