"""Why an embedded server did not start, in words an operator can act on. Must never hide the server's own words."""

import errno
from pathlib import Path
from typing import Final

TAIL_LINES: Final = 12
_TAIL_BYTES_MAX: Final = 8192

_FULL: Final = "the disk that holds {path} is full: free some space there, then start Weir again"
_FORBIDDEN: Final = (
    "{path} is not writable for the user that Weir runs as: give it to that user, or use another data directory"
)
_READ_ONLY: Final = "{path} is on a read-only file system: use a data directory that can be written to"
_NOT_A_DIRECTORY: Final = "{path} is not a directory: move what is there away, or use another data directory"
_OWNER: Final = "{path} belongs to another user: start Weir as that user, or use another data directory"

_BY_ERRNO: Final = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _READ_ONLY,
    errno.ENOTDIR: _NOT_A_DIRECTORY,
    errno.EEXIST: _NOT_A_DIRECTORY,
}
_BY_LOG: Final = (
    ("No space left on device", _FULL),
    ("Disk quota exceeded", _FULL),
    ("Read-only file system", _READ_ONLY),
    ("has wrong ownership", _OWNER),
    ("Permission denied", _FORBIDDEN),
)


class EmbeddedServerError(Exception):
    """An embedded server cannot run; the message is one sentence that names the path and says what to do."""


class DirectoryInUse(EmbeddedServerError):
    """Another Weir has the data directory, and perhaps running servers in it."""


def from_os_error(error: OSError, path: Path) -> EmbeddedServerError:
    """Return the error to raise when the operating system refused something below the data directory *path*."""
    words = _BY_ERRNO.get(error.errno or 0) or _words_for(str(error))  # `shutil.copytree` has words only
    if words is None:
        return EmbeddedServerError(f"the data directory {path} cannot be used: {error}")
    named = str(error.filename or "")
    return EmbeddedServerError(words.format(path=named if named.startswith(str(path)) else path))


def from_log(what: str, path: Path, log: Path, offset: int = 0) -> EmbeddedServerError:
    """Return the error to raise when *what* happened: the cause and the last lines of *log* behind byte *offset*."""
    lines = last_lines(log, offset)
    text = "\n".join(lines)
    cause = _words_for(text) or "its log says why"
    told = "".join(f"\n  {line}" for line in lines) or " (nothing)"
    return EmbeddedServerError(f"{what}: {cause.format(path=path)}. The last lines of {log}:{told}")


def _words_for(text: str) -> str | None:
    return next((words for needle, words in _BY_LOG if needle in text), None)


def last_lines(log: Path, offset: int = 0) -> list[str]:
    """Return at most `TAIL_LINES` lines from the end of *log*, none from before byte *offset*."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(offset, size - _TAIL_BYTES_MAX))
            return file.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
    except OSError:
        return []
