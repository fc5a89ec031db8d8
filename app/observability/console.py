"""Log lines for people: time, level, event, then `name=value`, and a traceback on lines of its own.

Values come from outside, so control characters never reach the terminal as they are.
"""

import json
import re
from typing import Final

from structlog.typing import EventDict

_PLAIN_VALUE: Final = re.compile(r"[!#-<>-~]+")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_COLOURS: Final = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}


class ConsoleRenderer:
    """A structlog processor that returns one readable line as bytes."""

    def __init__(self, *, in_colour: bool) -> None:
        self._in_colour = in_colour

    def __call__(self, _logger: object, level: str, event: EventDict) -> bytes:
        """Return *event* as text in UTF-8."""
        trace = event.pop("exception", None)
        time = event.pop("timestamp").strftime("%H:%M:%S.%f")[:-3]
        event.pop("level", None)
        title = self._coloured(_escape(str(event.pop("event"))), "1")
        words = [time, self._coloured(f"{level:<8}", _COLOURS.get(level, "0")), title]
        words += [f"{_escape(name)}={_value(value)}" for name, value in event.items()]
        line = " ".join(words)
        if trace is not None:
            line += "\n" + _CONTROL.sub("?", str(trace)).rstrip()
        return line.encode(errors="backslashreplace")

    def _coloured(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._in_colour else text


def _escape(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _value(value: object) -> str:
    if isinstance(value, str) and _PLAIN_VALUE.fullmatch(value):
        return value
    return json.dumps(value, default=str)
