"""Meters a chat completion stream without reading all of it: bytes go through, only the usage at the end is parsed.

Server-sent events as the WHATWG standard defines them, in OpenAI's dialect: `data:` lines, `[DONE]` at the end.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
from typing import Any, Final

import orjson

from app.gateway.usage import chat_usage, generated_texts, text_tokens
from app.prices.usage import Usage

EVENT_BYTES_MAX: Final = 16_777_216

# A quote inside a JSON string is always escaped, so none of these can be met in what a model wrote; nor can a line
# break, so what starts a line starts an event's line.
_USAGE: Final = re.compile(rb'"usage"\s*:\s*\{')
_DONE: Final = re.compile(rb"^data:\s*\[DONE\]", re.MULTILINE)
_ERROR: Final = re.compile(rb'^data:\s*\{\s*"error"', re.MULTILINE)
_BETWEEN_EVENTS: Final = re.compile(rb"\r?\n\r?\n")
_RELAYED_BYTES_MAX: Final = 32_768


class BrokenStream(Exception):
    """The bytes are not a stream of events."""


class ChatStream:
    """What has been learned of one stream: feed it bytes, relay what it gives back.

    The usage chunk is held back when *hide_usage*, as the caller did not ask for it. What was relayed is kept, a few
    kilobytes at a time, so that it can be counted if the stream ends without saying what it used.
    """

    def __init__(self, *, hide_usage: bool) -> None:
        self.usage: Usage | None = None
        self.is_done = False
        """`[DONE]` has been seen."""
        self.has_error = False
        """The upstream has sent an error event of its own."""
        self.answered_model: str | None = None
        self.service_tier: str | None = None
        self._hide_usage = hide_usage
        self._pending = b""
        self._relayed = bytearray()
        self._counted_tokens = 0

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the upstream and return those to relay: whole events only, perhaps none.

        Raises BrokenStream when an event does not end within `EVENT_BYTES_MAX`.
        """
        data = self._pending + data if self._pending else data
        end = (
            max(data.rfind(b"\n\n") + 2, data.rfind(b"\r\n\r\n") + 4) if b"\n\r\n" in data else data.rfind(b"\n\n") + 2
        )
        if end < 2:
            if len(data) > EVENT_BYTES_MAX:
                raise BrokenStream(f"an event longer than {EVENT_BYTES_MAX} bytes")
            self._pending = data
            return b""
        block, self._pending = data[:end], data[end:]
        if _USAGE.search(block):
            block = self._take_usage(block)
        self._relayed += block
        if len(self._relayed) > _RELAYED_BYTES_MAX:
            self._count_relayed()
        self.is_done = self.is_done or _DONE.search(block) is not None
        self.has_error = self.has_error or _ERROR.search(block) is not None
        return block

    @property
    def is_cut(self) -> bool:
        """Whether the bytes so far end inside an event."""
        return bool(self._pending)

    def relayed_tokens(self) -> int:
        """Return about how many tokens were relayed: at least one for each event with text in it."""
        self._count_relayed()
        return self._counted_tokens

    def _take_usage(self, block: bytes) -> bytes:
        kept = []
        for event in _events(block):
            document = _parse(event) if _USAGE.search(event) else None
            if document is None:
                kept.append(event)
                continue
            self._learn(document)
            self.usage = chat_usage(document.get("usage")) or self.usage
            if not (self._hide_usage and document.get("choices") == []):
                kept.append(event)
        return b"".join(kept)

    def _learn(self, document: dict[str, Any]) -> None:
        if isinstance(model := document.get("model"), str):
            self.answered_model = model[:256]
        if isinstance(tier := document.get("service_tier"), str):
            self.service_tier = tier[:64]

    def _count_relayed(self) -> None:
        for event in _events(bytes(self._relayed)):
            document = _parse(event)
            if document is None:
                continue
            self._learn(document)
            for choice in document.get("choices") or ():
                delta = choice.get("delta") if isinstance(choice, dict) else None
                self._counted_tokens += sum(map(text_tokens, generated_texts(delta)))
        self._relayed.clear()


def error_event(envelope: bytes) -> bytes:
    """Return the event that ends a stream which broke: both SDKs raise APIError for it."""
    return b"data: " + envelope + b"\n\n"


def _events(block: bytes) -> list[bytes]:
    """Return the events of *block*, each with the empty line that ends it."""
    events, start = [], 0
    for gap in _BETWEEN_EVENTS.finditer(block):
        events.append(block[start : gap.end()])
        start = gap.end()
    if start < len(block):
        events.append(block[start:])
    return events


def _parse(event: bytes) -> dict[str, Any] | None:
    """Return the JSON object in the data lines of *event*, None for comments, `[DONE]` and anything else."""
    lines = event.splitlines()
    data = b"\n".join(line[5:] for line in lines if line.startswith(b"data:"))
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
