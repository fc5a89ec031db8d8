"""Structured logs on standard output: one JSON object a line, or one readable line on a terminal.

Our own lines go straight to the stream, those of calls a moment later; the standard library's join them through a
handler. Nothing is written unredacted, and nothing that goes wrong here may stop the call that is being logged.
"""

import asyncio
import atexit
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from select import PIPE_BUF
from typing import Any, BinaryIO, Final, Protocol

import orjson
import structlog
from structlog.typing import BindableLogger, EventDict, FilteringBoundLogger, Processor

from app.core.clock import utc_now
from app.observability.console import ConsoleRenderer
from app.observability.redaction import REDACTED, is_secret_name, redact_text, redact_value
from app.setting_groups import Log

_TRACEBACK_CHARACTERS_MAX: Final = 20_000
_PLAIN_TYPES: Final = frozenset({int, float, bool, type(None), datetime})
"""What holds no secret."""
_GATHERING_SECONDS: Final = 0.05
_GATHERED_LINES_MAX: Final = 256
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# These bring handlers of their own.
_TAKEN_OVER: Final = ("uvicorn", "uvicorn.error", "gunicorn", "gunicorn.error", "alembic")


class LineWriter:
    """Writes whole lines to *stream* in their order; a stream that is closed, broken or absent loses them.

    Only a process that is killed loses others: the lines of its last *gathering_seconds* that could wait.
    """

    def __init__(self, stream: BinaryIO | None, gathering_seconds: float = 0.0) -> None:
        self._stream = stream
        self._gathering_seconds = gathering_seconds
        self._lock = threading.Lock()
        self._gathered: list[bytes | Callable[[], bytes]] = []

    def msg(self, line: bytes) -> None:
        """Write *line*, and what was gathered before it, at once."""
        with self._lock:
            self._gathered.append(line)
        self.flush()

    debug = info = warning = error = critical = msg

    def soon(self, render: Callable[[], bytes]) -> None:
        """Write the line that *render* returns within *gathering_seconds*, together with all others of that time.

        To wake up whoever reads them costs more than a line itself, and to render many together less than one by one.
        """
        with self._lock:
            self._gathered.append(render)
            count = len(self._gathered)
        if self._gathering_seconds == 0 or count >= _GATHERED_LINES_MAX:
            self.flush()
        elif count == 1:
            try:
                asyncio.get_running_loop().call_later(self._gathering_seconds, self.flush)
            except RuntimeError:  # nothing runs here that would come back to it
                self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        with self._lock:
            lines, self._gathered = self._gathered, []
            if self._stream is None or not lines:
                return
            text = b"".join([(line if isinstance(line, bytes) else line()) + b"\n" for line in lines])
            start = 0
            try:
                while start < len(text):
                    end = _end_of_piece(text, start)
                    self._stream.write(text[start:end])
                    self._stream.flush()
                    start = end
            except (OSError, ValueError):
                pass


def _end_of_piece(text: bytes, start: int) -> int:
    """Return where to end a piece of whole lines that no other worker's, in the same pipe, can come into the middle of.

    That is sure of `PIPE_BUF` bytes (https://pubs.opengroup.org/onlinepubs/9799919799/functions/write.html), and so not
    of a line that is longer.
    """
    if len(text) - start <= PIPE_BUF:
        return len(text)
    return (text.rfind(b"\n", start, start + PIPE_BUF) + 1) or (text.index(b"\n", start) + 1)


class Logger(FilteringBoundLogger, Protocol):
    """structlog's logger for one level, and a short way for the one line that every call writes."""

    def line(self, level: str, fields: Callable[[], EventDict]) -> None:
        """Write what *fields* returns, if *level* is written at all; a warning at once, and what is less soon."""


class StdlibHandler(logging.Handler):
    """Hands the records of the standard library's loggers to ours."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*; a message that does not fit its arguments is written without them."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - the arguments' own __str__ may raise anything
            message = str(record.msg)
        error = record.exc_info[1] if record.exc_info else None
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        # No logger method takes the message as a format here, as it has no arguments.
        self._logger.log(level, message, logger=record.name, **({"exc_info": error} if error else {}))


def build_logger(settings: Log, stream: BinaryIO | None = None) -> Logger:
    """Return a logger that writes to *stream*, standard output unless one is given, each line at once."""
    writer, options = _parts(settings, stream, gathering_seconds=0.0)
    logger: Logger = structlog.wrap_logger(writer, **options).bind()
    return logger


def configure(settings: Log, stream: BinaryIO | None = None) -> Logger:
    """Return the process's logger, which `structlog.get_logger` gives to every module from now on."""
    writer, options = _parts(settings, stream, _GATHERING_SECONDS)
    atexit.register(writer.flush)
    structlog.configure(logger_factory=lambda *_: writer, cache_logger_on_first_use=False, **options)
    logger: Logger = structlog.get_logger().bind()
    return logger


def _parts(settings: Log, stream: BinaryIO | None, gathering_seconds: float) -> tuple[LineWriter, dict[str, Any]]:
    target = stream if stream is not None else getattr(sys.stdout, "buffer", None)
    is_terminal = target is not None and target.isatty()
    is_console = settings.format == "console" or (settings.format == "auto" and is_terminal)
    renderer: Processor = (
        ConsoleRenderer(in_colour=is_terminal and "NO_COLOR" not in os.environ) if is_console else render_json
    )
    return LineWriter(target, gathering_seconds), {
        "processors": [stamp, redact, renderer],
        "wrapper_class": _logger_class(_LEVELS[settings.level], renderer),
        "context_class": dict,
    }


def capture_stdlib(logger: Logger, settings: Log) -> None:
    """Send the standard library's warnings to *logger*; access lines of servers end here, as ours say more."""
    root = logging.getLogger()
    root.handlers[:] = [StdlibHandler(logger)]
    root.setLevel(max(_LEVELS[settings.level], logging.WARNING))
    for name in _TAKEN_OVER:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(logging.NOTSET)
    for name in ("uvicorn.access", "gunicorn.access"):
        access = logging.getLogger(name)
        access.handlers.clear()
        access.propagate = False


def stamp(_logger: object, level: str, event: EventDict) -> EventDict:
    """Return *event* with the time and the level in front, and its exception as text."""
    line: EventDict = {"timestamp": utc_now(), "level": level, "event": event.pop("event", "")}
    error = event.pop("exc_info", None)
    line.update(event)
    if error is True:  # logger.exception
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        # Redacted before it is cut, as the rest of a secret would not look like one.
        line["exception"] = redact_text("".join(traceback.format_exception(error)))[-_TRACEBACK_CHARACTERS_MAX:]
    return line


def redact(_logger: object, _level: str, event: EventDict) -> EventDict:
    """Return *event* without secrets: by the names of its fields and by how their values look."""
    for name, value in event.items():
        if type(value) is str:
            # An identifier has none of the punctuation that every pattern needs.
            if not value.isidentifier():
                event[name] = redact_text(value)
        elif type(value) not in _PLAIN_TYPES:
            event[name] = redact_value(value)
    for name in _secret_names(tuple(event)):
        event[name] = REDACTED
    return event


@lru_cache(maxsize=256)
def _secret_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return which of the fields of a line are secret; the lines of one place have the same fields every time."""
    return tuple(filter(is_secret_name, names))


def render_json(_logger: object, _level: str, event: EventDict) -> bytes:
    """Return *event* as JSON; text that is no UTF-8 and numbers beyond 64 bits are written as Python can."""
    try:
        return orjson.dumps(event, option=orjson.OPT_UTC_Z)
    except orjson.JSONEncodeError:
        return json.dumps(event, default=_plain).encode()


def _logger_class(level_min: int, render: Processor) -> type[BindableLogger]:
    class LineLogger(structlog.make_filtering_bound_logger(level_min)):  # type: ignore[misc]
        def line(self, level: str, fields: Callable[[], EventDict]) -> None:
            # The usual methods copy the fields four times, which costs as much as writing them.
            if _LEVELS[level] < level_min:
                return
            now = utc_now()

            def rendered() -> bytes:
                event = {"timestamp": now, "level": level, **fields()}
                line: bytes = render(None, level, redact(None, level, event))  # type: ignore[assignment]
                return line

            if _LEVELS[level] < logging.WARNING:
                self._logger.soon(rendered)
            else:
                self._logger.msg(rendered())

    return LineLogger


def _plain(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else repr(value)
