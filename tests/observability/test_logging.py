import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from select import PIPE_BUF
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from app.observability.logging import LineWriter, build_logger, capture_stdlib, configure
from app.setting_groups import Log
from tests.fixtures.waiting import until

KEY = "wk-AbCdEf0123456789"
JSON = Log(format="json")


@pytest.fixture
def output() -> io.BytesIO:
    return io.BytesIO()


def lines(output: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def only(output: io.BytesIO) -> dict[str, Any]:
    (line,) = lines(output)
    return line


@pytest.fixture
def restored_structlog() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def restored_stdlib() -> Iterator[None]:
    names = ("", "uvicorn", "uvicorn.error", "uvicorn.access", "gunicorn", "gunicorn.error", "gunicorn.access")
    loggers = [logging.getLogger(name) for name in (*names, "alembic", "sqlalchemy.pool")]
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def test_a_line_is_one_json_object_with_time_level_and_event_in_front(output: io.BytesIO) -> None:
    build_logger(JSON, output).info("started", port=8000)
    line = only(output)
    assert list(line) == ["timestamp", "level", "event", "port"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])
    assert (line["level"], line["event"], line["port"]) == ("info", "started", 8000)


def test_lines_below_the_level_are_not_written(output: io.BytesIO) -> None:
    logger = build_logger(Log(format="json", level="warning"), output)
    logger.info("quiet")
    logger.line("info", lambda: {"event": "quiet"})
    logger.warning("loud")
    logger.line("error", lambda: {"event": "louder"})
    assert [line["event"] for line in lines(output)] == ["loud", "louder"]


@pytest.mark.usefixtures("restored_structlog")
async def test_a_calls_line_waits_a_moment_for_others_and_then_is_written_by_itself(output: io.BytesIO) -> None:
    logger = configure(JSON, output)
    for number in range(3):
        logger.line("info", partial(dict, event="call", number=number))
    assert lines(output) == []
    await until(lambda: bool(output.getvalue()))
    assert [line["number"] for line in lines(output)] == [0, 1, 2]
    logger.line("info", lambda: {"event": "call", "number": 3})
    await until(lambda: len(lines(output)) == 4)


@pytest.mark.usefixtures("restored_structlog")
@pytest.mark.parametrize("way", ["line", "warning", "info"])
async def test_every_other_line_is_written_at_once_behind_those_that_waited(output: io.BytesIO, way: str) -> None:
    logger = configure(JSON, output)
    logger.line("info", lambda: {"event": "call"})
    if way == "line":
        logger.line("warning", lambda: {"event": "other"})
    else:
        getattr(logger, way)("other")
    assert [line["event"] for line in lines(output)] == ["call", "other"]


@pytest.mark.usefixtures("restored_structlog")
async def test_no_more_lines_wait_than_a_few_hundred(output: io.BytesIO) -> None:
    logger = configure(JSON, output)
    for number in range(1000):
        logger.line("info", partial(dict, event="call", number=number))
    written = [line["number"] for line in lines(output)]
    assert written == list(range(len(written)))
    assert 700 < len(written) <= 1000


ENDS = """
import asyncio, os, sys
from app.observability.logging import configure
from app.setting_groups import Log
async def main():
    configure(Log(format="json")).line("info", lambda: {"event": "call"})
    raise {"exit": SystemExit(3), "crash": RuntimeError("nobody catches this")}[sys.argv[1]]
asyncio.run(main())
"""


@pytest.mark.parametrize(("end", "status"), [("exit", 3), ("crash", 1)])
def test_a_process_that_ends_or_crashes_loses_no_line(end: str, status: int) -> None:
    ended = subprocess.run([sys.executable, "-c", ENDS, end], capture_output=True, check=False, timeout=60)
    assert ended.returncode == status
    assert json.loads(ended.stdout)["event"] == "call"


def test_bound_values_are_written(output: io.BytesIO) -> None:
    build_logger(JSON, output).bind(worker=3).warning("slow")
    assert only(output)["worker"] == 3


@pytest.mark.usefixtures("restored_structlog")
def test_loggers_of_modules_write_where_the_process_does(output: io.BytesIO) -> None:
    module_logger = structlog.get_logger()
    logger = configure(JSON, output)
    module_logger.info("from a module", api_key=KEY)
    logger.line("info", lambda: {"event": "from the middleware"})
    assert [line["event"] for line in lines(output)] == ["from a module", "from the middleware"]
    assert KEY not in output.getvalue().decode()


def test_secrets_are_redacted_wherever_they_are_planted(output: io.BytesIO) -> None:
    build_logger(JSON, output).info(
        f"using {KEY}",
        authorization="Bearer abcdefgh12345678",
        api_key=123456789,
        openai_api_key="plain-value",
        nested={"inner": [{"password": "hunter2"}, f"Bearer {KEY}"]},
        address="postgresql://weir:hunter2@db/weir",
        model=KEY,
        setting=SecretStr("hunter2"),
        pem="-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
    )
    text = output.getvalue().decode()
    for secret in (KEY, "abcdefgh12345678", "123456789", "plain-value", "hunter2"):
        assert secret not in text
    assert only(output)["address"] == "postgresql://weir:[redacted]@db/weir"


def test_secrets_in_tracebacks_are_redacted(output: io.BytesIO) -> None:
    logger = build_logger(JSON, output)
    try:
        try:
            raise ConnectionError("cannot connect to postgresql://weir:hunter2@db/weir")
        except ConnectionError as error:
            raise RuntimeError(f"bad header Authorization: Bearer {KEY}") from error
    except RuntimeError:
        logger.exception("failed")
    assert "RuntimeError" in only(output)["exception"]
    assert "ConnectionError" in only(output)["exception"]
    assert "hunter2" not in output.getvalue().decode()
    assert KEY not in output.getvalue().decode()


def test_an_exception_that_is_not_there_is_not_written(output: io.BytesIO) -> None:
    build_logger(JSON, output).error("odd", exc_info=True)
    assert "exception" not in only(output)


@pytest.mark.parametrize("value", ["\ud800 half a pair", 2**70])
def test_what_strict_json_refuses_is_written_all_the_same(output: io.BytesIO, value: object) -> None:
    build_logger(JSON, output).info("odd", value=value, api_key=KEY)
    assert only(output)["value"] == value
    assert "timestamp" in only(output)
    assert KEY not in output.getvalue().decode()


def test_objects_are_written_as_their_redacted_repr(output: io.BytesIO) -> None:
    build_logger(JSON, output).info("odd", value=ValueError(KEY))
    assert only(output)["value"] == "ValueError('[redacted]')"


def test_a_closed_output_does_not_stop_the_caller(output: io.BytesIO) -> None:
    logger = build_logger(JSON, output)
    output.close()
    logger.info("nobody reads this")
    logger.line("info", lambda: {"event": "nor this"})


SPEAKS_INTO_A_PIPE = """
import sys
from app.observability.logging import build_logger
from app.setting_groups import Log
logger = build_logger(Log(format="json"))
sys.stdin.read()
for number in range(1000):
    logger.info("line", number=number)
print("survived", file=sys.stderr)
"""


def test_a_broken_pipe_does_not_stop_the_process() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", SPEAKS_INTO_A_PIPE], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.close()
        assert b"survived" in process.stderr.read()


def test_a_process_without_standard_output_logs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    build_logger(JSON).info("nobody reads this")


def test_a_terminal_gets_readable_coloured_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    build_logger(Log(), terminal).info("call", path="/v1/models", status=200, api_key=KEY)
    text = terminal.getvalue().decode()
    assert "\x1b[32minfo" in text
    assert "path=/v1/models status=200 api_key=[redacted]" in text


def test_the_console_format_has_no_colours_in_a_file_or_when_none_are_wanted(
    output: io.BytesIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    for stream in (output, terminal):
        build_logger(Log(format="console"), stream).warning("call", status=200)
        assert re.fullmatch(rb"\d\d:\d\d:\d\d\.\d{3} warning  call status=200\n", stream.getvalue())


def test_auto_writes_json_to_a_file(output: io.BytesIO) -> None:
    build_logger(Log(), output).info("call")
    assert only(output)["event"] == "call"


def test_control_characters_never_reach_a_terminal(output: io.BytesIO) -> None:
    logger = build_logger(Log(format="console"), output)
    logger.info("evil\x1b[2J", path="/a\nb\x1b[31m\x9b", odd={"x": "\x1b"}, half="\ud800")
    logger.info("big", number=2**70)
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        logger.exception("failed")
    text = output.getvalue().decode()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert str(2**70) in text
    assert "ValueError" in text


@pytest.mark.usefixtures("restored_stdlib")
def test_the_standard_librarys_records_end_in_the_same_place_redacted(output: io.BytesIO) -> None:
    capture_stdlib(build_logger(JSON, output), JSON)
    logging.getLogger("sqlalchemy.pool").warning("lost %s", f"postgresql://u:hunter2@db and {KEY}")
    line = only(output)
    assert (line["level"], line["logger"]) == ("warning", "sqlalchemy.pool")
    assert line["event"] == "lost postgresql://u:[redacted]@db and [redacted]"


@pytest.mark.usefixtures("restored_stdlib")
def test_exceptions_of_the_standard_librarys_records_are_redacted(output: io.BytesIO) -> None:
    capture_stdlib(build_logger(JSON, output), JSON)
    try:
        raise ValueError(KEY)
    except ValueError:
        logging.getLogger("asyncio").exception("task failed")
    assert "ValueError: [redacted]" in only(output)["exception"]


@pytest.mark.usefixtures("restored_stdlib")
def test_a_record_that_cannot_be_formatted_is_written_without_its_arguments(output: io.BytesIO) -> None:
    capture_stdlib(build_logger(JSON, output), JSON)
    logging.getLogger("asyncpg").error("%d items", KEY)
    assert only(output)["event"] == "%d items"


@pytest.mark.usefixtures("restored_stdlib")
def test_percent_signs_in_a_record_are_not_a_format(output: io.BytesIO) -> None:
    capture_stdlib(build_logger(JSON, output), JSON)
    logging.getLogger("asyncpg").log(35, "100 %s of %", exc_info=(None, None, None))
    assert (only(output)["event"], only(output)["level"]) == ("100 %s of %", "warning")


@pytest.mark.usefixtures("restored_stdlib")
def test_libraries_and_servers_are_heard_from_warnings(output: io.BytesIO) -> None:
    capture_stdlib(build_logger(Log(format="json", level="debug"), output), Log(level="debug"))
    for name in ("sqlalchemy.pool", "uvicorn.error", "uvicorn.access", "gunicorn.error", "alembic"):
        logging.getLogger(name).info("hello from %s", name)
    logging.getLogger("uvicorn.error").warning("a word of warning")
    assert [line["event"] for line in lines(output)] == ["a word of warning"]
    assert not logging.getLogger("uvicorn.access").hasHandlers()


class Pieces(io.BytesIO):
    """Remembers what is written at once, as a pipe passes it on."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, piece: Any) -> int:
        self.written.append(bytes(piece))
        return super().write(piece)


async def test_what_workers_write_at_once_is_whole_lines_that_do_not_come_apart_in_the_pipe_they_share() -> None:
    pieces = Pieces()
    writer = LineWriter(pieces, gathering_seconds=3_600)
    short = [f"{number} ".encode() * 200 for number in range(100)]
    long = b"x" * (2 * PIPE_BUF)
    for line in (*short, long, *short):
        writer.soon(partial(bytes, line))
    writer.flush()

    assert pieces.getvalue().splitlines() == [*short, long, *short]
    assert all(piece.endswith(b"\n") for piece in pieces.written)
    assert [piece for piece in pieces.written if len(piece) > PIPE_BUF] == [long + b"\n"]
