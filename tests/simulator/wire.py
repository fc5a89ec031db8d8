"""HTTP/1.1 by hand, to see the very bytes that arrive and how the connection ends."""

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

ASK = {"model": "sim-small", "messages": [{"role": "user", "content": "What is a weir?"}]}


@dataclass
class Received:
    """Everything until the connection's end, which is there once the server closed it."""

    status: int
    headers: dict[str, str]
    body: bytes
    """As it came, chunk framing included."""

    @property
    def is_complete(self) -> bool:
        """Whether the framing says that the whole body arrived (RFC 9112, section 8)."""
        if "content-length" in self.headers:
            return len(self.body) == int(self.headers["content-length"])
        return self.body.endswith(b"\r\n0\r\n\r\n")

    def events(self) -> list[str]:
        """Return the data of each server-sent event that arrived."""
        return [line[6:].decode() for line in self.body.split(b"\n") if line.startswith(b"data: ")]

    def contents(self) -> list[str]:
        """Return the text of each content chunk."""
        chunks = [orjson.loads(event) for event in self.events() if event.startswith('{"id"')]
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        return [delta["content"] for delta in deltas if "content" in delta and "role" not in delta]


class Connection:
    """An open connection on which requests are sent one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read_all(self) -> Received:
        """Read until the server closes the connection."""
        raw = await asyncio.wait_for(self.reader.read(), 20)
        head, _, body = raw.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return Received(int(status.split()[1]) if status else 0, headers, body)

    async def read_event(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\n\n"), 20)

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


class Wire:
    def __init__(self, base_url: str) -> None:
        self._url = urlsplit(base_url)

    async def send(
        self,
        document: dict[str, Any] | bytes | None = None,
        path: str = "/v1/chat/completions",
        *,
        method: str = "POST",
        keep_alive: bool = False,
        **headers: str,
    ) -> Connection:
        """Open a connection and send one request; underscores in the names of *headers* become dashes."""
        body = document if isinstance(document, bytes) else b"" if document is None else orjson.dumps(document)
        lines = [f"{method} {path} HTTP/1.1", "host: simulator", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines += [] if keep_alive else ["connection: close"]
        reader, writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        return Connection(reader, writer)

    async def ask(self, document: dict[str, Any] | bytes | None = None, *args: Any, **options: Any) -> Received:
        """Send one request and read all of the answer."""
        connection = await self.send(document, *args, **options)
        try:
            return await connection.read_all()
        finally:
            await connection.close()
