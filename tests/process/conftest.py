import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Protocol

import pytest
import structlog

from app import cli
from app.settings import Settings
from tests.fixtures.servers import PEPPER
from tests.process.weir_process import PATIENCE_SECONDS, empty_directory, environment


class Finished(NamedTuple):
    """How a command ended and what it wrote."""

    status: int
    output: str
    errors: str


class WeirCommand(Protocol):
    """Runs one `weir` command with these variables, and no other settings."""

    def __call__(self, *args: str, **variables: str) -> Finished: ...


@pytest.fixture
def work_directory() -> Iterator[Path]:
    with empty_directory() as directory:
        yield directory


@pytest.fixture
def external(settings: Settings) -> dict[str, str]:
    """The variables of a Weir on the servers of this worker."""
    return variables_of(settings)


def variables_of(settings: Settings) -> dict[str, str]:
    """Return the variables of a Weir whose database and Redis are not its own."""
    assert settings.database_url
    assert settings.redis_url
    return {
        "WEIR_DATABASE_URL": settings.database_url.get_secret_value(),
        "WEIR_REDIS_URL": settings.redis_url.get_secret_value(),
        "WEIR_KEYS__PEPPER": PEPPER,
    }


@pytest.fixture
def weir_command(
    work_directory: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[WeirCommand]:
    """Run commands that end by themselves inside this process: importing Weir anew would take most of the time."""

    def run(*args: str, **variables: str) -> Finished:
        wanted = environment(work_directory, COLUMNS="200", **variables)
        os.environ.clear()
        os.environ.update(wanted)
        monkeypatch.chdir(work_directory)
        monkeypatch.setattr(sys, "argv", ["weir", *args])
        capfd.readouterr()
        status = 0
        signal.alarm(PATIENCE_SECONDS)  # a server that is not refused would go on for ever
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        finally:
            signal.alarm(0)
        return Finished(status, *capfd.readouterr())

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError("the command does not end")

    variables_before = dict(os.environ)
    previous = signal.signal(signal.SIGALRM, give_up)
    loggers = [logging.getLogger(name) for name in ("", *logging.root.manager.loggerDict)]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    configuration = structlog.get_config()
    yield run
    signal.signal(signal.SIGALRM, previous)
    os.environ.clear()
    os.environ.update(variables_before)
    structlog.configure(**configuration)
    for logger, handlers, level, propagate in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate
