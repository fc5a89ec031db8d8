"""Meters a chat completion stream without reading all of it: bytes go through, only the usage at the end is parsed.

Server-sent events as the WHATWG standard defines them, in OpenAI's dialect: `data:` lines, `[DONE]` at the end.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
from itertools import pairwise
from typing import Any, Final

import orjson

from app.gateway.usage import chat_usage, generated_tokens, objects
from app.prices.usage import Usage

EVENT_BYTES_MAX: Final = 16_777_216

# A quote inside a JSON string is always escaped, so none of these can be met in what a model wrote; nor can a line
# break, so what starts a line starts an event's line.
_NOTABLE: Final = re.compile(rb'"(?:usage|error)"\s*:\s*[{"]')
_DONE: Final = re.compile(rb"^data: ?\[DONE\]", re.MULTILINE)
_EVENT_ENDS: Final = (b"\n\n", b"\n\r\n")
_BETWEEN_EVENTS: Final = re.compile(rb"\n(?:\r?\n)+")
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
        self.answered_model: object = None
        self.service_tier: object = None
        self._hide_usage = hide_usage
        self._pending = b""
        self._relayed = bytearray()
        self._counted_tokens = 0

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the upstream and return those to relay: whole events only, perhaps none.

        Raises BrokenStream when an event does not end within `EVENT_BYTES_MAX`.
        """
        data = self._pending + data if self._pending else data
        end = max((at + len(end) for end in _EVENT_ENDS if (at := data.rfind(end)) >= 0), default=0)
        if not end:
            if len(data) > EVENT_BYTES_MAX:
                raise BrokenStream(f"an event longer than {EVENT_BYTES_MAX} bytes")
            self._pending = data
            return b""
        block, self._pending = data[:end], data[end:]
        if _NOTABLE.search(block):
            block = self._read(block)
        self._relayed += block
        if len(self._relayed) > _RELAYED_BYTES_MAX:
            self._count_relayed()
        self.is_done = self.is_done or _DONE.search(block) is not None
        return block

    def finish(self) -> bytes:
        """Return what is left to relay when the upstream has ended: a `[DONE]` counts without its empty line too."""
        return self.feed(b"\n\n") if _DONE.search(self._pending) else b""

    def relayed_tokens(self) -> int:
        """Return about how many tokens were relayed: at least one for each event with text in it."""
        self._count_relayed()
        return self._counted_tokens

    def _read(self, block: bytes) -> bytes:
        """Learn from the events of *block* and return those to relay."""
        kept = []
        for event in _events(block):
            document = _parse(event) if _NOTABLE.search(event) else None
            if document is not None:
                self._learn(document)
                self.usage = chat_usage(document.get("usage")) or self.usage
                self.has_error = self.has_error or bool(document.get("error"))
                is_usage_chunk = isinstance(document.get("usage"), dict) and document.get("choices") == []
                if self._hide_usage and is_usage_chunk:
                    continue
            kept.append(event)
        return b"".join(kept)

    def _learn(self, document: dict[str, Any]) -> None:
        self.answered_model = document.get("model") or self.answered_model
        self.service_tier = document.get("service_tier") or self.service_tier

    def _count_relayed(self) -> None:
        for event in _events(bytes(self._relayed)):
            document = _parse(event)
            if document is None:
                continue
            self._learn(document)
            for choice in objects(document.get("choices")):
                self._counted_tokens += generated_tokens(choice.get("delta"))
        self._relayed.clear()


def error_event(envelope: bytes) -> bytes:
    """Return the event that ends a stream which broke: both SDKs raise APIError for it."""
    return b"data: " + envelope + b"\n\n"


def _events(block: bytes) -> list[bytes]:
    """Return the events of *block*, each with the empty line that ends it; *block* ends with one."""
    ends = [0, *(gap.end() for gap in _BETWEEN_EVENTS.finditer(block))]
    return [block[start:end] for start, end in pairwise(ends)]


def _parse(event: bytes) -> dict[str, Any] | None:
    """Return the JSON object in the data lines of *event*, None for comments, `[DONE]` and anything else."""
    lines = event.splitlines()
    data = b"\n".join(line[5:] for line in lines if line.startswith(b"data:"))
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
