"""Weir's data directory as the embedded servers see it: one owner at a time, private files, short socket paths.

    data_dir/embedded/            or, when the servers may not enter data_dir, a link to a directory in /var/lib/weir
        weir.lock                 held by the Weir that runs
        postgres/  valkey/        each server's password or configuration, and its `data`
        postgres.log  valkey.log  postgres.lock  valkey.lock
        run/                      the sockets, or a link to a shorter path
        programs/                 only if the servers' user cannot read the wheels

Must never change the mode or owner of something that Weir did not make.
"""

import logging
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from app.embedded.account import Account
from app.embedded.failure import DirectoryInUse, EmbeddedServerError
from app.embedded.lock import FileLock

ROOTS_HOME: Final = Path("/var/lib/weir")
SOCKET_DIRECTORY_BYTES_MAX: Final = 80  # sun_path holds 104 bytes on macOS; `/.s.PGSQL.5432` goes behind
_PLAIN: Final = re.compile(r"[A-Za-z0-9/._-]+")  # asyncpg takes a comma for the end of a host, even in a quoted URL

logger = logging.getLogger(__name__)


class DataDirectory:
    """The open data directory: `home` for the servers' files, `sockets` for their sockets, `account` to run as."""

    def __init__(self, path: Path) -> None:
        """Open *path*, making it if need be.

        Raises EmbeddedServerError when another Weir has it or the servers cannot use it, OSError when nobody can.
        """
        self.path = path.absolute()
        link = self.path / "embedded"
        self.account = Account.choose(link / "postgres" / "data")
        self._mode = 0o711 if self.account.switches else 0o700
        self.home = self._open_home(link)
        self._lock = FileLock(self.home / "weir.lock")
        if not self._lock.try_acquire():
            pid = self._lock.holder_pid()
            self._lock.close()
            raise DirectoryInUse(
                f"{self.path} is in use by another Weir (pid {pid}): stop that one, or use another data directory"
            )
        self._lock.note_pid(os.getpid())
        try:
            self.sockets = self._open_sockets()
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Remove the sockets and let another Weir have the directory."""
        self._remove_sockets()
        self._lock.close()

    def make(self, path: Path, *, for_account: bool = False) -> Path:
        """Return the directory *path*, made if need be; with *for_account* only the servers' account may use it."""
        if not path.is_dir():
            path.mkdir(mode=0o700)
            path.chmod(0o700 if for_account else self._mode)
        if for_account:
            self.account.give(path)  # again for one that is there: Weir may have been killed before it came to this
        return path

    def write(self, path: Path, text: str, *, for_account: bool = False) -> None:
        """Write *text* to a new file that only Weir, or with *for_account* the servers' account, can read."""
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if for_account:
            self.account.give(path)

    def _open_home(self, link: Path) -> Path:
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self.make(self.path)
        if link.is_symlink() and not link.is_dir():
            raise EmbeddedServerError(
                f"{link} leads to {link.readlink()}, which is gone: bring that back, or remove the link to start anew"
            )
        if not link.exists() and not self.account.can_enter(self.path):
            self._make_home_elsewhere(link)
        home = self.make(link.resolve())
        if not self.account.can_enter(home):
            raise self._closed()
        if not self.account.switches and home.stat().st_uid != os.geteuid():
            raise EmbeddedServerError(
                f"{home} belongs to another user: start Weir as that user, or use another data directory"
            )
        return home

    def _make_home_elsewhere(self, link: Path) -> None:
        try:
            if not ROOTS_HOME.is_dir():
                ROOTS_HOME.mkdir(parents=True)
                ROOTS_HOME.chmod(0o755)
            home = Path(tempfile.mkdtemp(prefix=f"{self.path.name.lstrip('.')}-", dir=ROOTS_HOME))
        except OSError as error:
            raise self._closed() from error
        home.chmod(self._mode)
        try:
            link.symlink_to(home)
        except OSError:
            home.rmdir()
            raise
        logger.warning("%s is closed to the servers' user: their data is kept in %s", self.path, home)

    def _closed(self) -> EmbeddedServerError:
        if not self.account.can_enter(Path("/")):
            return EmbeddedServerError(
                f"PostgreSQL refuses to run as root and Weir may not become another user for {self.path} "
                "(a container without CAP_SETUID?): start Weir as an ordinary user"
            )
        return EmbeddedServerError(
            f"{self.path} is closed to the unprivileged user that PostgreSQL runs as when Weir runs as root: "
            f"use a data directory that others may enter, such as {ROOTS_HOME}, or start Weir as an ordinary user"
        )

    def _open_sockets(self) -> Path:
        self._remove_sockets()
        run = self.home / "run"
        if _fits(run, 0):
            return self.make(run, for_account=True)
        for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - a directory of our own is made in it
            if _fits(parent, len("/weir-12345678")) and self.account.can_enter(parent):
                short = Path(tempfile.mkdtemp(prefix="weir-", dir=parent))
                self.account.give(short)
                run.symlink_to(short)  # found and removed by the next start, if this one is killed
                return short
        raise EmbeddedServerError(
            f"{self.path} is too long or too unusual a path for sockets and so is {tempfile.gettempdir()}: "
            "use a shorter data directory, or set TMPDIR to a short one"
        )

    def _remove_sockets(self) -> None:
        run = self.home / "run"
        if run.is_symlink():
            shutil.rmtree(run.readlink(), ignore_errors=True)
            run.unlink()
        elif run.exists():
            shutil.rmtree(run)


def _fits(path: Path, more_bytes: int) -> bool:
    return len(str(path)) + more_bytes <= SOCKET_DIRECTORY_BYTES_MAX and _PLAIN.fullmatch(str(path)) is not None
