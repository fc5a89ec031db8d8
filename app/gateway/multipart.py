"""Finds the fields and files of a multipart form in its bytes, so that a metered call can be read without changing it.

Every byte stays as the caller wrote it, but for the value of a field that is replaced. Never copies a file.
https://www.rfc-editor.org/rfc/rfc7578
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import InvalidRequest, InvalidType, UnsupportedMediaType

_PARTS_MAX: Final = 256
_VALUE_BYTES_MAX: Final = 1_048_576
"""Of a field that Weir reads; a prompt may have 32,000 characters."""
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_PLAIN: Final = frozenset({b"binary", b"7bit", b"8bit", b"utf-8", b"utf8", b"us-ascii", b"ascii"})
_TRUE: Final = frozenset({"true", "1", "on", "yes"})
_FALSE: Final = frozenset({"false", "0", "off", "no"})
_OPTION: Final = re.compile(rb';[ \t]*([^\s;="\\]+)=(?:"(?:[^"\\]|\\.)*"|[^\s;="\\]*)[ \t]*')
"""What a part is called is nothing to guess about: it must be written in the one way that everybody reads alike."""
_DISPOSITION: Final = re.compile(rb"form-data[ \t]*(?:%b)*" % _OPTION.pattern, re.IGNORECASE)
_SUFFIX: Final = re.compile(r"\[[^\[\]]*\]\Z")
"""What makes a field one of several, or a member of an object: `image[]`, `chunking_strategy[type]`."""
# The caller is told what is wrong with a form; the operator need not be.
_QUIET: Final = logging.getLogger(f"{__name__}.parser")
_QUIET.propagate = False
_QUIET.addHandler(logging.NullHandler())


class Part(NamedTuple):
    """One field or file, and where its content is in the body."""

    name: str
    """As it was written, such as `image[]`."""
    is_file: bool
    content_type: str
    """Empty when the part names none."""
    is_encoded: bool
    """Its content is not the text that it stands for: it names a transfer encoding (RFC 7578, section 4.7)."""
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """How long its content is."""
        return self.end - self.start

    @property
    def base_name(self) -> str:
        """The name without what makes it one of several: `image` of `image[]`."""
        return _SUFFIX.sub("", self.name)


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form: its bytes as they came, and where its parts are in them."""

    body: bytes
    boundary: bytes
    parts: tuple[Part, ...]

    def files(self, name: str) -> list[Part]:
        """Return the files called *name*, `name[]` or `name[0]`."""
        return [part for part in self.parts if part.is_file and part.base_name == name]

    def content(self, part: Part) -> bytes:
        """Return the bytes of a part."""
        return self.body[part.start : part.end]

    def read(self, kinds: Mapping[str, type]) -> dict[str, Any]:
        """Return those of the fields named in *kinds* that are there, each as the JSON type it stands for.

        A form has text only: a number and a flag is read as one, and an empty one is as if it was not there. Raises
        InvalidType for what cannot be read so, and InvalidRequest for a field that the upstream may read otherwise than
        Weir: one that is there twice, is a file, is encoded, or whose name differs by case or brackets only.
        """
        document: dict[str, Any] = {}
        for part in self.parts:
            name = part.base_name.casefold().strip()
            if name not in kinds:
                continue
            if part.name != name:
                raise InvalidRequest(
                    f"Unknown parameter: '{part.name[:100]}'. It is called '{name}'.", param=part.name[:100]
                )
            if name in document:
                raise InvalidRequest(f"Invalid '{name}': it is there more than once.", param=name)
            document[name] = self._value(part, kinds[name])
        return {name: value for name, value in document.items() if value is not None}

    def replaced(self, name: str, value: str) -> bytes:
        """Return the body with *value* in the field *name*, or with such a field in front where there is none."""
        for part in self.parts:
            if part.name == name:
                return self.body[: part.start] + value.encode() + self.body[part.end :]
        start = self.body.index(b"--" + self.boundary)
        field = b'--%b\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        return self.body[:start] + field % (self.boundary, name.encode(), value.encode()) + self.body[start:]

    def _value(self, part: Part, kind: type) -> Any:
        if part.is_file or part.is_encoded:
            raise InvalidRequest(f"Invalid '{part.name}': expected a field with plain text.", param=part.name)
        if part.size_bytes > _VALUE_BYTES_MAX:
            raise InvalidRequest(f"Invalid '{part.name}': longer than {_VALUE_BYTES_MAX} bytes.", param=part.name)
        try:
            text = self.content(part).decode()
        except UnicodeDecodeError:
            raise InvalidRequest(f"Invalid '{part.name}': it is not UTF-8.", param=part.name) from None
        if kind is str:
            return text
        text = text.strip().lower()
        if not text:
            return None
        if kind is bool:
            if text not in _TRUE | _FALSE:
                raise InvalidType(part.name, expected="a boolean", got="a string")
            return text in _TRUE
        if not _NUMBER.fullmatch(text):
            raise InvalidType(part.name, expected="an integer", got="a string")
        return int(text)


def is_form(content_type: str | None) -> bool:
    """Tell whether a body of *content_type* is a multipart form."""
    return (content_type or "").partition(";")[0].strip().lower() == "multipart/form-data"


def read_form(body: bytes, content_type: str | None, content_encoding: str | None) -> Form:
    """Return the multipart form in *body*.

    Raises UnsupportedMediaType for another content type or a compressed body, and InvalidRequest for what cannot be
    parsed, has too many parts, or may be cut into other parts by somebody else.
    """
    if not is_form(content_type):
        shown = f", not '{content_type[:100]}'" if content_type else ""
        raise UnsupportedMediaType(f"The content type must be multipart/form-data{shown}.")
    if (content_encoding or "identity").lower() != "identity":
        raise UnsupportedMediaType("Compressed request bodies are not supported: send the form as it is.")
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise InvalidRequest("The content type multipart/form-data must name its boundary.")
    reading = _Reading()
    try:
        parser = MultipartParser(boundary, reading.callbacks())
        parser.logger = _QUIET
        parser.write(body)
    except FormParserError as error:
        raise _broken(f"cannot be parsed at byte {getattr(error, 'offset', 0)}") from None
    if not reading.is_whole:
        raise _broken("has no closing boundary")
    # Some servers take less than CR LF for the end of a line, and would see other parts than these.
    delimiter = b"--" + boundary
    seen = body.startswith(delimiter) + sum(body.count(end + delimiter) for end in (b"\n", b"\r"))
    if seen != len(reading.parts) + 1:
        raise _broken("has its boundary inside of a part")
    return Form(body, boundary, tuple(reading.parts))


class _Reading:
    """What the parser has seen so far. It is given the whole body at once, so its offsets are those of the body."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.is_whole = False
        self._begin()

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._field = b""
        self._span: tuple[int, int] = (0, 0)

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field = data[start:end].lower()

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._headers.append((self._field, data[start:end]))

    def _data(self, _: bytes, start: int, end: int) -> None:
        self._span = (start, end)

    def _end(self) -> None:
        if len(self.parts) == _PARTS_MAX:
            raise InvalidRequest(f"The form has more than {_PARTS_MAX} parts.")
        headers = dict(self._headers)
        disposition = headers.get(b"content-disposition", b"")
        names = [option.lower() for option in _OPTION.findall(disposition)]
        has_one_name = names.count(b"name") == 1 and b"name*" not in names
        if not _DISPOSITION.fullmatch(disposition) or not has_one_name or len(headers) < len(self._headers):
            raise _broken(f"has a part, number {len(self.parts) + 1}, that is no field with one name")
        _, options = parse_options_header(disposition)
        content_type, type_options = parse_options_header(headers.get(b"content-type"))
        start, end = self._span
        self.parts.append(
            Part(
                name=options[b"name"].decode("utf-8", "replace"),
                is_file=b"filename" in names or b"filename*" in names,
                content_type=content_type.decode("latin-1"),
                is_encoded=headers.get(b"content-transfer-encoding", b"8bit").strip().lower() not in _PLAIN
                or type_options.get(b"charset", b"utf-8").lower() not in _PLAIN,
                start=start,
                end=end,
            )
        )

    def _finish(self) -> None:
        self.is_whole = True


def _broken(reason: str) -> InvalidRequest:
    return InvalidRequest(f"The request body is not a valid multipart form: it {reason}.")
