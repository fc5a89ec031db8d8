"""The upstream of the measurements: answers every call at once with the same bytes, so that it is never what is slow.

What it says is what the simulator says. A stream brings each event by itself, one in every turn of the event loop.
"""

import asyncio
import json
import sys
from typing import Any, Final, cast

import uvloop

EVENTS: Final = 100
_CREATED: Final = 1_795_361_640
_USAGE: Final = {"prompt_tokens": 14, "completion_tokens": EVENTS, "total_tokens": 14 + EVENTS}


def _document(kind: str, choice: dict[str, Any], **more: Any) -> bytes:
    choices = [{"index": 0, "logprobs": None, **choice}] if choice else []
    identity = {"id": "chatcmpl-bench", "object": kind, "created": _CREATED, "model": "sim-small"}
    return json.dumps({**identity, "choices": choices, **more}, separators=(",", ":")).encode()


def _plain() -> bytes:
    message = {"role": "assistant", "content": "Hello to everybody. " * 10, "refusal": None}
    body = _document("chat.completion", {"message": message, "finish_reason": "stop"}, usage=_USAGE)
    head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nx-request-id: req_bench\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\n" + head.encode() + body


def _stream() -> tuple[bytes, ...]:
    """Return the head, and then each event in a chunk of its own."""
    kind = "chat.completion.chunk"
    documents = [
        *(_document(kind, {"delta": {"content": " hello"}, "finish_reason": None}) for _ in range(EVENTS - 3)),
        _document(kind, {"delta": {}, "finish_reason": "stop"}),
        _document(kind, {}, usage=_USAGE),
        b"[DONE]",
    ]
    chunks = [b"data: " + document + b"\n\n" for document in documents]
    chunks = [f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks]
    head = b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\nx-request-id: req_bench\r\n\r\n"
    return (b"HTTP/1.1 200 OK\r\n" + head + chunks[0], *chunks[1:], b"0\r\n\r\n")


PLAIN: Final = _plain()
STREAM: Final = _stream()


class Upstream(asyncio.Protocol):
    """One connection, whose requests have a content length or no body, and come one at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it
        self._data = bytearray()

    def data_received(self, data: bytes) -> None:
        self._data += data
        head_end = self._data.find(b"\r\n\r\n") + 4
        if head_end < 4:
            return
        _, _, rest = bytes(self._data[:head_end]).lower().partition(b"\r\ncontent-length:")
        if len(self._data) < head_end + int(rest.partition(b"\r\n")[0] or b"0"):
            return
        is_stream = b'"stream":true' in self._data or b'"stream": true' in self._data
        self._data.clear()
        if is_stream:
            self._send(0)
        else:
            self._transport.write(PLAIN)

    def _send(self, index: int) -> None:
        if index < len(STREAM) and not self._transport.is_closing():
            self._transport.write(STREAM[index])
            asyncio.get_running_loop().call_soon(self._send, index + 1)


async def main(port: int) -> None:
    """Answer on loopback until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=2_048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
