"""Meters a stream of events without reading all of it: bytes go through, only what is notable is parsed.

Server-sent events as the WHATWG standard defines them; what they say is a dialect's, one for each kind of endpoint.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Final, NamedTuple

import orjson

from app.prices.usage import NO_USAGE, Usage

_EVENT_ENDS: Final = (b"\n\n", b"\n\r\n")
_EVENT_END_BYTES: Final = 3
_BETWEEN_EVENTS: Final = re.compile(rb"\n(?:\r?\n)+")
_RELAYED_BYTES_MAX: Final = 12_288
_PACKED_MAX: Final = 5
_DONE: Final = b"[DONE]"
_PACKED_BYTES_MAX: Final = 32_768
_PACKING_MEMORY_LEVEL: Final = 5
_DEFLATE_WINDOW_BITS: Final = -15  # without a checksum of what never leaves the process: a third of the time


class StoredObject(NamedTuple):
    """Something that an upstream keeps."""

    id: str
    kind: str
    """Such as `response`."""


class BrokenStream(Exception):
    """The bytes are not a stream of events."""


class EventStream(ABC):
    """What has been learned of one stream: feed it bytes, relay what it gives back.

    What was relayed is kept, a few kilobytes at a time, until the stream says what it used: if it ends without, that
    is counted. A dialect says which bytes are notable, which end a whole stream, and what an event means.
    """

    NOTABLE: tuple[re.Pattern[bytes], ...]
    """One of them is in every event that `learn` has to see, and in that which ends the stream. A quote inside a JSON
    string is always escaped, so a pattern with quotes cannot be met in what a model wrote. All that is relayed is
    searched for each: fast for one that begins with a certain byte, several times slower with a choice of them."""
    END: ClassVar[re.Pattern[bytes]]
    """Only in the event that ends a stream as it should. A model writes no line breaks inside a JSON string either, so
    what starts a line starts an event's line."""
    EVENT_BYTES_MAX: ClassVar[int] = 16_777_216

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.is_done = False
        """The end of a whole stream has been seen."""
        self.has_error = False
        """The upstream has sent an error event of its own."""
        self.answered_model: object = None
        self.service_tier: object = None
        self.stored: list[StoredObject] = []
        """What the upstream stores from now on, as far as events have said so."""
        self._stored_taken = 0
        self._stored_once: set[StoredObject] = set()
        self._pending = bytearray()
        self._relayed = bytearray()
        self._packed: list[bytes] = []
        """What was relayed before that, small: most streams end with their usage, and so are never counted."""
        self._counted_tokens = 0
        self.apart = NO_USAGE
        """What was relayed that is paid for apart, once it is counted: sound among its tokens, calls of tools."""

    @abstractmethod
    def learn(self, document: dict[str, Any]) -> bool:
        """Learn from a notable event; return whether the caller gets it."""

    @abstractmethod
    def tokens_of(self, document: dict[str, Any]) -> int:
        """Return about how many tokens a model generated for this event; learn what else it says of the answer."""

    def error_event(self, error: dict[str, Any]) -> bytes:
        """Return the event that ends a stream which broke; *error* has OpenAI's four members."""
        return b"data: " + orjson.dumps({"error": error}) + b"\n\n"

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the upstream and return those to relay: whole events only, perhaps none.

        Raises BrokenStream when an event does not end within `EVENT_BYTES_MAX`.
        """
        block = data if not self._pending and data.endswith(_EVENT_ENDS) else self._whole_events(data)
        for pattern in self.NOTABLE:
            if pattern.search(block):
                block = self._read(block)
                break
        if not self.has_whole_usage:
            self._relayed += block
            if len(self._relayed) > _RELAYED_BYTES_MAX:
                self._pack_relayed()
        return block

    def finish(self) -> bytes:
        """Return what is left to relay when the upstream has ended: its end counts without the empty line too."""
        return self.feed(b"\n\n") if self.END.search(self._pending) else b""

    @property
    def has_whole_usage(self) -> bool:
        """Whether `usage` is of all that was relayed, which then need not be counted."""
        return self.usage is not None

    def ends(self, event: bytes) -> bool:
        """Tell whether the notable *event* ends a whole stream."""
        return self.END.search(event) is not None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be relayed, if the upstream has sent everything."""
        return self.is_done and not self._pending

    def store(self, named: Iterable[StoredObject]) -> None:
        """Note what the upstream stores, each once."""
        for each in named:
            if each not in self._stored_once:
                self._stored_once.add(each)
                self.stored.append(each)

    def take_stored(self) -> Sequence[StoredObject]:
        """Return what of `stored` was not returned before."""
        if self._stored_taken == len(self.stored):
            return []
        taken = self._stored_taken
        self._stored_taken = len(self.stored)
        return self.stored[taken:]

    def relayed_tokens(self) -> int:
        """Return about how many tokens were relayed if `usage` does not say: at least one for each event with text."""
        if self.has_whole_usage:
            return 0
        self._count_relayed()
        return self._counted_tokens

    def _whole_events(self, data: bytes) -> bytes:
        """Return what ends with *data* of what has come; the rest waits for its end."""
        # What waits was searched already, and is only appended to: an event may be a picture.
        searched = max(0, len(self._pending) - _EVENT_END_BYTES + 1)
        self._pending += data
        ends = (at + len(end) for end in _EVENT_ENDS if (at := self._pending.rfind(end, searched)) >= 0)
        end = max(ends, default=0)
        if not end and len(self._pending) > self.EVENT_BYTES_MAX:
            raise BrokenStream(f"an event longer than {self.EVENT_BYTES_MAX} bytes")
        block = bytes(self._pending[:end])
        del self._pending[:end]
        return block

    def _read(self, block: bytes) -> bytes:
        """Learn from the notable events of *block* and return what of it is to be relayed."""
        kept = []
        read_to = 0
        for at in sorted(found.start() for pattern in self.NOTABLE for found in pattern.finditer(block)):
            if at < read_to:  # in the same event as the one before
                continue
            start, end = _event_around(block, at, read_to)
            kept.append(block[read_to:start])
            event = block[start:end]
            document = _parse(event)
            if document is None or self.learn(document):
                kept.append(event)
                self.is_done = self.is_done or self.ends(event)
            read_to = end
        return b"".join((*kept, block[read_to:]))

    def _pack_relayed(self) -> None:
        if len(self._relayed) > _PACKED_BYTES_MAX or len(self._packed) == _PACKED_MAX:
            self._count_relayed()
        else:
            self._packed.append(_packed(self._relayed))
            self._relayed.clear()

    def _count_relayed(self) -> None:
        unpacked = (zlib.decompress(block, _DEFLATE_WINDOW_BITS) for block in self._packed)
        for block in (*unpacked, bytes(self._relayed)):
            for event in _events(block):
                document = _parse(event)
                if document is not None:
                    self._counted_tokens += self.tokens_of(document)
        self._packed.clear()
        self._relayed.clear()


def _packed(relayed: bytearray) -> bytes:
    """Return *relayed*, small, as fast as zlib can: to clear its usual tables takes longer than to use them."""
    packer = zlib.compressobj(level=1, wbits=_DEFLATE_WINDOW_BITS, memLevel=_PACKING_MEMORY_LEVEL)
    return packer.compress(relayed) + packer.flush()


def _events(block: bytes) -> list[bytes]:
    """Return the events of *block*, each with the empty line that ends it; *block* ends with one."""
    ends = [0, *(gap.end() for gap in _BETWEEN_EVENTS.finditer(block))]
    return [block[start:end] for start, end in pairwise(ends)]


def _event_around(block: bytes, at: int, since: int) -> tuple[int, int]:
    """Return where the event begins and ends that *at* is in, in a *block* where another one ends at *since*."""
    starts = (before + len(end) for end in _EVENT_ENDS if (before := block.rfind(end, since, at)) >= 0)
    gap = _BETWEEN_EVENTS.search(block, at)
    return max(starts, default=since), gap.end() if gap else len(block)


def _parse(event: bytes) -> dict[str, Any] | None:
    """Return the JSON object in the data lines of *event*, None for comments, `[DONE]` and anything else."""
    lines = event.splitlines()
    data = b"\n".join([line[5:] for line in lines if line.startswith(b"data:")])
    if data.strip() == _DONE:  # every stream has it: to find that it is no JSON would cost as much as an event
        return None
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
