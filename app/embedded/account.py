"""Who the servers run as: the caller itself, or, because PostgreSQL refuses root, an unprivileged user.

Must never run a server as root, and never change the mode of a directory that Weir did not make.
"""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from app.embedded.failure import EmbeddedServerError

UNPRIVILEGED_USER: Final = "nobody"


class PopenIdentity(TypedDict, total=False):
    """The part of `subprocess.Popen`'s options that says as whom to run."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """The user and group of the servers; None means: the same as Weir's own."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def choose(cls, existing: Path) -> "Account":
        """Return the account for servers whose data is, or will be, in *existing*.

        Root hands over to whoever owns the data already, so that it can be used as root and as that user in turn.
        Raises EmbeddedServerError when there is no unprivileged user to become.
        """
        if os.geteuid() != 0:
            return cls()
        if existing.exists() and existing.stat().st_uid != 0:
            status = existing.stat()
            return cls(status.st_uid, status.st_gid)
        try:
            entry = pwd.getpwnam(UNPRIVILEGED_USER)
        except KeyError:
            raise EmbeddedServerError(
                f"PostgreSQL refuses to run as root and this system has no user {UNPRIVILEGED_USER}: "
                "start Weir as an ordinary user"
            ) from None
        return cls(entry.pw_uid, entry.pw_gid)

    @property
    def switches(self) -> bool:
        """Whether the servers run as somebody else than Weir."""
        return self.uid is not None

    def popen_identity(self) -> PopenIdentity:
        """Return the options that make `subprocess` run a program as this account."""
        if self.uid is None or self.gid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def give(self, path: Path) -> None:
        """Make *path*, which Weir has made, belong to this account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can_enter(self, directory: Path) -> bool:
        """Tell whether this account reaches *directory*; tried, since modes alone do not tell (ACLs, containers)."""
        return not self.switches or self.output_of(["/bin/sh", "-c", 'cd "$1"', "sh", str(directory)]) is not None

    def output_of(self, argv: list[str]) -> str | None:
        """Return what a short-lived program prints when this account runs it, None when it cannot be run."""
        try:
            done = subprocess.run(  # noqa: S603 - argv is ours, no shell parses it
                argv,
                cwd="/",
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
                **self.popen_identity(),
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout


def clean_environment() -> dict[str, str]:
    """Return the environment of the servers: none of Weir's secrets, none of the caller's PG* variables."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
