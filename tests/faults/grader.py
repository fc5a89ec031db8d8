"""An upstream that judges how it is treated by whoever calls it, and writes down what it finds fault with."""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import orjson

from tests.fixtures.listening import listening

_MARKER = re.compile(rb"call-[0-9]+")


class Grader:
    """Treats every request as `answer`, `pause_ms` and `then` say."""

    def __init__(self) -> None:
        self.base_url = ""
        self.open_count = 0
        self.reset()

    def reset(self) -> None:
        """Forget all of this, and close connections without a word."""
        self.answer = b""
        """Written to each request; the connection is closed after it."""
        self.pause_ms = 0
        """How long nothing may come after such an answer, which says so."""
        self.hangs = False
        """Never close the connection by itself."""
        self.requests = 0
        self.of_call: Counter[bytes] = Counter()
        """Requests by the `call-1`, `call-2` ... in them."""
        self.findings: list[str] = []
        self._not_before = 0.0

    def refuses(self, status: int, pause_ms: int = 0, **headers: str) -> None:
        """Answer so, and ask for a pause if there is to be one."""
        self.pause_ms = pause_ms
        body = orjson.dumps({"error": {"message": "No.", "type": "server_error", "param": None, "code": "its_own"}})
        self.answers(status, body, content_type="application/json", content_length=str(len(body)), **headers)

    def answers(self, status: int, body: bytes, **headers: str) -> None:
        """Answer with these very bytes after the head."""
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
        self.answer = f"HTTP/1.1 {status} So\r\n{''.join(lines)}connection: close\r\n\r\n".encode() + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_count += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._judge(reader)
            writer.write(self.answer)
            await writer.drain()
            if self.pause_ms:
                self._not_before = asyncio.get_running_loop().time() + self.pause_ms / 1_000
            if self.hangs:
                await reader.read()
        writer.close()
        self.open_count -= 1

    async def _judge(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
        if not head.startswith(b"POST "):  # what is for free may be asked at any time
            return
        early_seconds = self._not_before - asyncio.get_running_loop().time()
        if early_seconds > 0:
            self.findings.append(f"asked {early_seconds:.3f} seconds before it may be")
        self.requests += 1
        self.of_call.update(_MARKER.findall(body))


@contextlib.asynccontextmanager
async def grading() -> AsyncIterator[Grader]:
    """Serve a grader on a port of its own."""
    grader = Grader()
    async with listening(grader.serve) as address:
        grader.base_url = f"{address}/v1"
        yield grader


def call(number: int, **members: Any) -> dict[str, Any]:
    """Return a request that the grader can tell from others."""
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"call-{number}"}], **members}
