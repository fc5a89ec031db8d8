"""Advisory file locks (flock(2)) that end by themselves with the last process that holds them, even after kill -9.

The file stays; only the lock on it means something. Must never be unlinked: two processes could then hold "the" lock.
"""

import fcntl
import os
from pathlib import Path


class FileLock:
    """A lock on one file that also says who holds it.

    A child that inherits `fd` holds the lock too. A server that outlives Weir is known by that, without
    trusting process numbers, which are reused.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def try_acquire(self) -> bool:
        """Tell whether the lock is ours now."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def holder_pid(self) -> int | None:
        """Return the process number that the last holder left, None when there is none."""
        text = os.pread(self.fd, 32, 0).strip()
        return int(text) if text.isdigit() else None

    def note_pid(self, pid: int) -> None:
        """Leave *pid* for whoever finds the lock taken."""
        os.pwrite(self.fd, f"{pid:<20}\n".encode(), 0)  # always as long: it must not need room on a disk that filled up

    def close(self) -> None:
        """Let go; children that inherited the lock keep it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
