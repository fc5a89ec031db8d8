"""Structured logs on standard output: one JSON object a line, or one readable line on a terminal.

Our own lines go straight to the stream; the standard library's join them through a handler. Nothing is written
unredacted, and nothing that goes wrong here may stop the call that is being logged.
"""

import json
import logging
import os
import sys
import threading
import traceback
from typing import Any, BinaryIO, Final, Protocol

import orjson
import structlog
from structlog.typing import BindableLogger, EventDict, FilteringBoundLogger, Processor

from app.core.clock import utc_now
from app.observability.console import ConsoleRenderer
from app.observability.redaction import REDACTED, is_secret_name, redact_text, redact_value
from app.setting_groups import Log

_TRACEBACK_CHARACTERS_MAX: Final = 20_000
_NUMBER_TYPES: Final = frozenset({int, float, bool, type(None)})
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# These bring handlers of their own.
_TAKEN_OVER: Final = ("uvicorn", "uvicorn.error", "gunicorn", "gunicorn.error", "alembic")


class LineWriter:
    """Writes whole lines to *stream*; unlike structlog's BytesLogger it does not mind that nobody reads them."""

    def __init__(self, stream: BinaryIO | None) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def msg(self, line: bytes) -> None:
        """Write *line* and a newline at once; a stream that is closed, broken or absent loses it."""
        if self._stream is None:
            return
        try:
            with self._lock:
                self._stream.write(line + b"\n")
                self._stream.flush()
        except (OSError, ValueError):
            pass

    debug = info = warning = error = critical = msg


class Logger(FilteringBoundLogger, Protocol):
    """structlog's logger for one level, and a short way for the one line that every call writes."""

    def line(self, level: str, fields: EventDict) -> None:
        """Write *fields*, which are changed on the way, if *level* is written at all."""


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
    """Return a logger that writes to *stream*, standard output unless one is given."""
    writer, options = _parts(settings, stream)
    logger: Logger = structlog.wrap_logger(writer, **options).bind()
    return logger


def configure(settings: Log, stream: BinaryIO | None = None) -> Logger:
    """Return the process's logger, which `structlog.get_logger` gives to every module from now on."""
    writer, options = _parts(settings, stream)
    structlog.configure(logger_factory=lambda *_: writer, cache_logger_on_first_use=False, **options)
    logger: Logger = structlog.get_logger().bind()
    return logger


def _parts(settings: Log, stream: BinaryIO | None) -> tuple[LineWriter, dict[str, Any]]:
    target = stream if stream is not None else getattr(sys.stdout, "buffer", None)
    is_terminal = target is not None and target.isatty()
    is_console = settings.format == "console" or (settings.format == "auto" and is_terminal)
    renderer: Processor = (
        ConsoleRenderer(in_colour=is_terminal and "NO_COLOR" not in os.environ) if is_console else render_json
    )
    return LineWriter(target), {
        "processors": [stamp, redact, renderer],
        "wrapper_class": _logger_class(_LEVELS[settings.level]),
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
        if is_secret_name(name):
            event[name] = REDACTED
        elif type(value) is str:
            # An identifier has none of the punctuation that every pattern needs.
            if not value.isidentifier():
                event[name] = redact_text(value)
        elif type(value) not in _NUMBER_TYPES:
            event[name] = redact_value(value)
    return event


def render_json(_logger: object, _level: str, event: EventDict) -> bytes:
    """Return *event* as JSON; text that is no UTF-8 and numbers beyond 64 bits are written as Python can."""
    try:
        return orjson.dumps(event, option=orjson.OPT_UTC_Z)
    except orjson.JSONEncodeError:
        return json.dumps(event, default=_plain).encode()


def _logger_class(level_min: int) -> type[BindableLogger]:
    class LineLogger(structlog.make_filtering_bound_logger(level_min)):  # type: ignore[misc]
        def line(self, level: str, fields: EventDict) -> None:
            # The usual methods copy the fields four times, which costs as much as writing them.
            if _LEVELS[level] >= level_min:
                line: Any = fields
                for processor in self._processors:
                    line = processor(self._logger, level, line)
                self._logger.msg(line)

    return LineLogger


def _plain(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else repr(value)
