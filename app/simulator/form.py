"""Multipart forms, read while they arrive: fields whole, of files only the beginning is kept, and how long they are.

https://www.rfc-editor.org/rfc/rfc7578
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.simulator.refusal import Refusal, missing_parameter

KEPT_BYTES_MAX: Final = 4 * 1024 * 1024


@dataclass(slots=True)
class FormPart:
    """One field or file; `kept` is its content up to 4 MiB."""

    name: str
    filename: str | None
    content_type: str
    kept: bytearray = field(default_factory=bytearray)
    size_bytes: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, data: bytes) -> None:
        """Take the next bytes of its content."""
        self.digest.update(data)
        self.size_bytes += len(data)
        self.kept += data[: KEPT_BYTES_MAX - len(self.kept)]


class Form:
    """The parts of a form, in their order."""

    def __init__(self) -> None:
        self.parts: list[FormPart] = []

    def find(self, name: str) -> str | None:
        """Return the text of the field *name*, None without one."""
        found = (part for part in self.parts if part.name == name and part.filename is None)
        return next((bytes(part.kept).decode("utf-8", "replace") for part in found), None)

    def read(self, name: str) -> str:
        """Return the text of the required field *name*; raises Refusal (400)."""
        text = self.find(name)
        if text is None:
            raise missing_parameter(name)
        return text

    def read_file(self, name: str) -> FormPart:
        """Return the required file *name*; raises Refusal (400)."""
        found = (part for part in self.parts if part.name == name and part.filename is not None)
        file = next(found, None)
        if file is None:
            raise missing_parameter(name)
        return file

    def fields(self) -> Mapping[str, str]:
        """Return every field that is no file, by its name as it was written."""
        return {part.name: bytes(part.kept).decode("utf-8", "replace") for part in self.parts if part.filename is None}


class FormReader:
    """Takes the bytes of a form as they arrive."""

    def __init__(self, content_type: str) -> None:
        self.form = Form()
        _, options = parse_options_header(content_type)
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._is_whole = False
        try:
            self._parser = MultipartParser(options.get(b"boundary", b""), self._callbacks())
        except FormParserError:
            raise _bad_form() from None

    def feed(self, data: bytes) -> None:
        """Take the next bytes; raises Refusal (400) for what is no such form."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise _bad_form() from None

    def finish(self) -> Form:
        """Return the form; raises Refusal (400) when its end is missing."""
        if not self._is_whole:
            raise _bad_form()
        return self.form

    def _callbacks(self) -> Any:
        return {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._add_name,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_part,
            "on_part_data": lambda data, start, end: self.form.parts[-1].add(data[start:end]),
            "on_end": self._end,
        }

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _begin_part(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        filename = options.get(b"filename")
        self.form.parts.append(
            FormPart(
                name=options.get(b"name", b"").decode("utf-8", "replace"),
                filename=None if filename is None else filename.decode("utf-8", "replace"),
                content_type=self._headers.get(b"content-type", b"").decode("latin-1"),
            )
        )

    def _end(self) -> None:
        self._is_whole = True


def _bad_form() -> Refusal:
    return Refusal(400, "Could not parse multipart form.", code=None)
