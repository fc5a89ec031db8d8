"""The dialect of streams of responses: numbered events with names; the last one has the whole response with its usage.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

import re
from operator import add
from typing import Any, Final

import orjson

from app.gateway.responses_usage import NamedTools, containers_of, responses_usage, stored_objects, tools_usage
from app.gateway.stream import EventStream
from app.gateway.usage import objects, text_tokens
from app.prices.usage import Usage

_LAST: Final = rb"response\.(?:completed|incomplete|failed|cancelled)"
_NAMED: Final = rb"(?:error|response\.(?:created|queued)|%b)" % _LAST
# What an event is, by the line that names it or by the beginning of its data: further in, anything may be called so.
_NAME: Final = rb"event: ?%b\r?$"
_DATA: Final = rb'data: ?\{\s*(?:"sequence_number"\s*:\s*[0-9]+\s*,\s*)?"type"\s*:\s*"%b"'
_ITEM_DONE: Final = "response.output_item.done"
_NUMBER_NAME: Final = b'"sequence_number"'
_NUMBER: Final = re.compile(_NUMBER_NAME + rb"\s*:\s*([0-9]{1,9})")


class ResponsesStream(EventStream):
    """A stream that answers a request with *tools*; when it *stores*, the response and its items are kept upstream."""

    NOTABLE = (re.compile(_NAME % _NAMED, re.MULTILINE), re.compile(_DATA % _NAMED))
    EVENT_BYTES_MAX = 67_108_864
    """The last event has every image that was made."""
    END = re.compile(rb"^%b|^%b" % (_NAME % _LAST, _DATA % _LAST), re.MULTILINE)

    def __init__(self, tools: NamedTools, *, stores: bool) -> None:
        super().__init__()
        self._tools = tools
        self._stores = stores
        self._number = -1
        self._containers = set(tools.containers)
        """Of the request, and of the finished items of the output, as far as events were counted."""
        self._counted_by = tools._replace(containers=self._containers)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes as `EventStream.feed` does, and remember how far the events are numbered."""
        piece = super().feed(data)
        at = len(piece)
        while (at := piece.rfind(_NUMBER_NAME, 0, at)) >= 0:  # a caller's metadata may have a name like this too
            if number := _NUMBER.match(piece, at):
                self._number = max(self._number, int(number[1]))
                break
        return piece

    def learn(self, document: dict[str, Any]) -> bool:
        """Learn from the first event, the last one, and from an error."""
        kind = document.get("type")
        self.has_error = self.has_error or kind in ("error", "response.failed")
        response = document.get("response")
        if isinstance(response, dict):
            self.answered_model = response.get("model") or self.answered_model
            self.service_tier = response.get("service_tier") or self.service_tier
            self.usage = responses_usage(response, self._tools) or self.usage
            self.store(stored_objects(response, stores=self._stores))
        return True

    def tokens_of(self, document: dict[str, Any]) -> int:
        """Return about how many tokens the model generated for an event: those of its piece, if it is one.

        What it brings may be a call of a tool that is over.
        """
        if document.get("type") == _ITEM_DONE:
            output = [document.get("item")]
            self.apart = Usage._make(map(add, self.apart, tools_usage({"output": output}, self._counted_by)))
            self._containers |= containers_of(objects(output))
        delta = document.get("delta")
        return text_tokens(delta.encode()) if isinstance(delta, str) else 0

    def error_event(self, error: dict[str, Any]) -> bytes:
        """Return the event that ends a stream which broke.

        Both SDKs raise for it: openai-node because of its name, openai-python because of its member `error`.
        """
        event = {"type": "error", **{name: error[name] for name in ("code", "message", "param")}}
        event |= {"sequence_number": self._number + 1, "error": error}
        return b"event: error\ndata: " + orjson.dumps(event) + b"\n\n"
