"""HTTP to upstreams: one request out, one answer in, its bytes untouched. The only place that sends requests.

Redirects are not followed, cookies not kept, and nothing is sent twice. Closing an answer that is not at its end closes
its connection, which is how an upstream learns that nobody listens any more.
"""

import asyncio
import math
from collections.abc import Awaitable, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self, cast

from multidict import CIMultiDict
from yarl import URL

from app.core.header_fields import HeaderFields
from app.setting_groups import Upstream as UpstreamSettings
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.body import Body
from app.upstreams.connection_client import Connection
from app.upstreams.failure import UpstreamFailed
from app.upstreams.name_client import Resolver
from app.upstreams.pool_client import Origin, Pool
from app.upstreams.routing import Timeouts
from app.upstreams.upload_client import Upload, pieces_of
from app.upstreams.waits import Waits

_ORIGINS_REMEMBERED_MAX: Final = 1_000
_SENT_AT_ONCE_BYTES_MAX: Final = 1_048_576
_AS_SETTINGS_SAY: Final = Timeouts()
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods whose requests need not say that they have no body (RFC 9110, section 8.6)."""


class HttpAnswer(UpstreamAnswer):
    """An answer that is being received."""

    def __init__(self, connection: Connection, origin: Origin, pool: Pool, waits: Waits, size_bytes_max: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._origin = origin
        self._pool = pool
        self._waits = waits
        self._size_bytes_max = size_bytes_max
        self._upload: Upload | None = None
        self._is_closed = False
        self._silent_until: float | None = None
        """When the silence that is going on has been too long; it may go on over several reads."""
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.raw_headers: Sequence[tuple[bytes, bytes]] = ()

    async def receive_head(self, upload: Upload | None, until: float) -> None:
        """Wait for the head, *until* by the event loop's clock, or as long as *upload* allows; raises UpstreamFailed.

        What the upload itself has failed with is raised, too.
        """
        self._upload = upload
        connection = self._connection
        while not connection.check_head():
            if upload is not None:
                upload.check()
                until = upload.answer_until
            if self._loop.time() >= until:
                raise UpstreamFailed("timed_out", "no answer in time")
            await connection.news(until)
        self.status = connection.status
        self.raw_headers = connection.headers
        self.headers = HeaderFields(connection.headers, encoding="utf-8", errors="surrogateescape")
        if (encoding := self.headers.get("content-encoding")) is not None:
            self._refuse_compressed(encoding)

    @property
    def is_read(self) -> bool:
        """Whether the whole body has come, and was read: then all that is left to read is its end."""
        return not self._is_closed and self._connection.is_read

    def read_some(self) -> Awaitable[bytes]:
        """Return the next bytes of the body, b"" at its end; raises UpstreamFailed."""
        return cast("Awaitable[bytes]", self.read_soon(math.inf))  # never None: nobody waits for so long

    async def read_soon(self, patience_seconds: float) -> bytes | None:
        """Return the next bytes of the body, b"" at its end, None when nothing came for so long; raises UpstreamFailed.

        After None it can be asked again.
        """
        if self._is_closed:  # the connection may be another call's by now
            raise UpstreamFailed("lost", "the answer was closed before")
        data = self._connection.read()
        if data is None:
            now = self._loop.time()
            if self._silent_until is None:
                self._silent_until = self._waits.between_chunks_at(now)
            asks_again_at = now + patience_seconds
            until = min(asks_again_at, self._silent_until)
            while data is None:
                await self._connection.news(until)
                data = self._connection.read()
                if data is None and self._loop.time() >= until:
                    if asks_again_at < self._silent_until:
                        return None
                    self.close()
                    raise UpstreamFailed("timed_out", "silent for too long, or too long in total")
        elif not self._connection.is_ended and self._loop.time() >= self._waits.deadline:
            self.close()
            raise UpstreamFailed("timed_out", "too long in total")
        self._silent_until = None
        return data

    async def read_all(self) -> bytes:
        """Return the whole body; raises UpstreamFailed, also when it is longer than is allowed."""
        parts: list[bytes] = []
        size = 0
        while True:
            part = None if self._is_closed else self._connection.read()
            if part is None:
                part = await self.read_some()
            if not part:
                break
            parts.append(part)
            size += len(part)
            if size > self._size_bytes_max:
                self.close()
                raise UpstreamFailed("lost", f"its answer is longer than {self._size_bytes_max} bytes")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._upload is not None and not self._upload.stop():
            self._connection.close()
        self._pool.give_back(self._origin, self._connection)

    def _refuse_compressed(self, encoding: str) -> None:
        """Raise for a good answer that nobody here can read; a bad one need not be read."""
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity") and self.status < HTTPStatus.MULTIPLE_CHOICES:
            raise UpstreamFailed("nonsense", f"its answer is compressed ({encoding[:20]!r}), which was not asked for")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class UpstreamClient:
    """Sends requests to all upstreams."""

    def __init__(self, settings: UpstreamSettings, resolver: Resolver | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._pool = Pool(settings.connections_max, resolver)

    async def send(
        self,
        method: str,
        url: URL,
        headers: CIMultiDict[str],
        body: Body,
        timeouts: Timeouts = _AS_SETTINGS_SAY,
        *,
        has_alternative: bool = False,
    ) -> UpstreamAnswer:
        """Send one request and return its answer as soon as the head is here; raises UpstreamFailed.

        A body that comes in pieces can be sent once only; what its iterator raises is raised here.
        """
        now = self._loop.time()
        waits = Waits.of(self._settings, timeouts, now, has_alternative=has_alternative)
        # A large body leaves in pieces, so that other calls go on in between.
        pieces = pieces_of(body, _SENT_AT_ONCE_BYTES_MAX)
        head = _head(method, url, headers, body)
        origin = _origin(url)
        connection = self._pool.take_idle(origin) or await self._pool.take(origin, now + waits.connect_seconds)
        answer = HttpAnswer(connection, origin, self._pool, waits, self._settings.answer_size_bytes_max)
        try:
            whole = body if pieces is None and isinstance(body, bytes) else b""
            connection.send(head + whole, has_body=method != "HEAD")
            upload = None if pieces is None else Upload(connection, pieces, waits, is_chunked=head.endswith(_CHUNKED))
            await answer.receive_head(upload, waits.first_byte_at(now))
        except BaseException:
            answer.close()
            raise
        return answer

    async def close(self) -> None:
        """Close every connection that nobody uses."""
        self._pool.close()


@lru_cache(maxsize=_ORIGINS_REMEMBERED_MAX)
def _origin(url: URL) -> Origin:
    return Origin(url.scheme, url.raw_host or "", url.port or 0)


_CHUNKED: Final = b"\r\nTransfer-Encoding: chunked\r\n\r\n"


def _head(method: str, url: URL, headers: CIMultiDict[str], body: Body) -> bytes:
    """Return the head of a request (RFC 9112, section 3); raises ValueError where a value has a line break in it."""
    lines = [f"{method} {url.raw_path_qs} HTTP/1.1", f"Host: {url.host_port_subcomponent}"]
    lines += map(": ".join, headers.items())
    if isinstance(body, bytes) or (body is None and method not in _WITHOUT_BODY):
        lines.append(f"Content-Length: {len(body or b'')}")
    elif body is not None and "content-length" not in headers:
        lines.append("Transfer-Encoding: chunked")
    text = "\r\n".join(lines)
    breaks = len(lines) - 1
    if text.count("\r") != breaks or text.count("\n") != breaks or "\0" in text:
        raise ValueError("a header of a request has a line break in it")
    return f"{text}\r\n\r\n".encode()
