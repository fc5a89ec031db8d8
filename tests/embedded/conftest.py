import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.embedded.account import Account
from app.embedded.programs import find_initdb
from app.embedded.servers import EmbeddedServers

# Not `tmp_path`: its parents are closed to other users, and as root the servers run as another user.


@contextmanager
def open_directory() -> Iterator[Path]:
    """Yield a new directory that every user may enter, and remove it with what the servers made."""
    parent = Path(tempfile.mkdtemp(prefix="weir-test-"))
    parent.chmod(0o711)
    try:
        yield parent
    finally:
        for link in parent.glob("*/embedded"):
            if link.is_symlink():
                shutil.rmtree(link.readlink())
        shutil.rmtree(parent)


@pytest.fixture
def parent() -> Iterator[Path]:
    with open_directory() as directory:
        yield directory


@pytest.fixture
def readable_programs() -> None:
    """Skip where the servers' user cannot run the wheels' programs in place, as below a private home directory."""
    if Account.choose(Path("/nowhere")).output_of([str(find_initdb(None).path), "--version"]) is None:
        pytest.skip("nobody cannot read the virtual environment")


@pytest.fixture
def data_dir(parent: Path) -> Path:
    """Return a data directory that does not exist yet."""
    return parent / "data"


@pytest.fixture(scope="session")
def used_dir() -> Iterator[Path]:
    """Return a data directory in which the servers have run before; every test must leave it working."""
    with open_directory() as directory:
        with EmbeddedServers(directory / "data"):
            pass
        yield directory / "data"


@pytest.fixture(scope="module")
def running_dir() -> Iterator[Path]:
    with open_directory() as directory:
        yield directory / "data"


@pytest.fixture(scope="module")
def running(running_dir: Path) -> Iterator[EmbeddedServers]:
    """Return servers that the tests of a module share; for tests that only look."""
    with EmbeddedServers(running_dir) as servers:
        yield servers
