import errno
import shutil
from pathlib import Path

import pytest

from app.embedded.failure import from_log, from_os_error


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("FATAL:  could not write: No space left on device", "the disk that holds /data is full: free some space"),
        ("Disk quota exceeded", "the disk that holds /data is full: free some space"),
        ("could not open file: Permission denied", "/data is not writable for the user"),
        ("something new", "its log says why"),
    ],
)
def test_the_cause_in_a_log_becomes_advice_and_the_line_stays(tmp_path: Path, line: str, advice: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"of an earlier start\n{line}\n")
    message = str(from_log("PostgreSQL did not start", Path("/data"), log, len("of an earlier start\n")))
    assert message.startswith(f"PostgreSQL did not start: {advice}")
    assert message.endswith(f"The last lines of {log}:\n  {line}")


def test_only_the_end_of_a_long_log_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    told = str(from_log("Valkey did not start", tmp_path, log)).splitlines()
    assert told[-1] == "  line 9999"
    assert len(told) == 13


def test_a_log_that_is_missing_is_no_obstacle(tmp_path: Path) -> None:
    assert str(from_log("Valkey did not start", tmp_path, tmp_path / "log")).endswith(": (nothing)")


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "is full: free some space"),
        (errno.EACCES, "/data is not writable"),
        (errno.EROFS, "read-only file system"),
        (errno.EMFILE, "the data directory /data cannot be used: "),
    ],
)
def test_what_the_operating_system_refuses_becomes_advice(number: int, advice: str) -> None:
    assert advice in str(from_os_error(OSError(number, "refused", "/elsewhere"), Path("/data")))


def test_the_file_that_was_refused_is_named_when_it_is_in_the_data_directory() -> None:
    error = from_os_error(PermissionError(errno.EACCES, "refused", "/data/embedded/weir.lock"), Path("/data"))
    assert str(error).startswith("/data/embedded/weir.lock is not writable")


def test_copies_that_were_refused_become_advice_too() -> None:
    refused = [(f"/wheel/{name}", f"/data/{name}", f"[Errno 28] No space left on device: '{name}'") for name in "ab"]
    error = from_os_error(shutil.Error(refused), Path("/data"))
    assert str(error).startswith("the disk that holds /data is full: free some space")
