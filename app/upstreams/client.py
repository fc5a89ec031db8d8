"""HTTP to upstreams: one request out, one answer in, its bytes untouched. The only place that opens connections.

Redirects are not followed and cookies not kept. Closing an answer that is not at its end closes its connection, which
is how an upstream learns that nobody listens any more.
"""

import asyncio
import io
import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from app.setting_groups import Upstream as UpstreamSettings
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.body import Body
from app.upstreams.failure import UpstreamFailed
from app.upstreams.keep_alive import make_socket
from app.upstreams.routing import Timeouts
from app.upstreams.waits import Waits

_READ_BUFFER_BYTES: Final = 65_536
_SENT_AT_ONCE_BYTES_MAX: Final = 1_048_576
# What a connection attempt can fail with: DNS, refusal, TLS, a bad certificate. Nothing was sent in any of these.
_NOT_SENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
_AS_SETTINGS_SAY: Final = Timeouts()
# The first that fits.
_CONNECT_PROBLEMS: Final = (
    (aiohttp.ClientConnectorDNSError, "its name cannot be resolved"),
    (aiohttp.ClientConnectorCertificateError, "its TLS certificate is not valid"),
    (aiohttp.ClientConnectorSSLError, "it cannot be spoken to with TLS"),
    (aiohttp.ClientConnectorError, "no connection"),
    (aiohttp.ConnectionTimeoutError, "no connection in time"),
)


class HttpAnswer(UpstreamAnswer):
    """An answer that aiohttp is receiving."""

    def __init__(
        self, response: aiohttp.ClientResponse, waits: Waits, size_bytes_max: int, on_close: Callable[[], None]
    ) -> None:
        self._response = response
        self._waits = waits
        self._size_bytes_max = size_bytes_max
        self._on_close: Callable[[], None] | None = on_close
        self._silent_until: float | None = None
        """When the silence that is going on has been too long; it may go on over several reads."""
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    def header_items(self) -> Iterable[tuple[str, str]]:
        """Return the headers in order, repeated ones too."""
        return self._response.headers.items()

    async def read_some(self) -> bytes:
        """Return the next bytes of the body, b"" at its end; raises UpstreamFailed."""
        data = await self.read_soon(math.inf)
        assert data is not None, "nobody waits for so long"  # noqa: S101 - narrows the type
        return data

    async def read_soon(self, patience_seconds: float) -> bytes | None:
        """Return the same, or None when nothing came for so long: then it can be asked again. Raises UpstreamFailed."""
        content = self._response.content
        now = _now()
        if self._silent_until is None:
            self._silent_until = self._waits.between_chunks_at(now)
        asks_again_at = now + patience_seconds
        try:
            data = content.read_nowait()  # of what is here already; to wait costs more
            if not data and not content.at_eof():
                async with asyncio.timeout_at(min(asks_again_at, self._silent_until)):
                    data = await content.readany()
        except TimeoutError:
            if asks_again_at < self._silent_until:
                return None
            self.close()
            raise UpstreamFailed("timed_out", "silent for too long, or too long in total") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamFailed("lost", _describe(error)) from error
        self._silent_until = None
        return data

    async def read_all(self) -> bytes:
        """Return the whole body; raises UpstreamFailed, also when it is longer than is allowed."""
        parts: list[bytes] = []
        size = 0
        while part := await self.read_some():
            parts.append(part)
            size += len(part)
            if size > self._size_bytes_max:
                self.close()
                raise UpstreamFailed("lost", f"its answer is longer than {self._size_bytes_max} bytes")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()
        if self._on_close is not None:
            self._on_close()
            self._on_close = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class UpstreamClient:
    """A pool of connections to all upstreams."""

    def __init__(self, settings: UpstreamSettings, resolver: AbstractResolver | None = None) -> None:
        self._settings = settings
        self._in_use = 0
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=settings.connections_max, ttl_dns_cache=60, resolver=resolver, socket_factory=make_socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER_BYTES,
            skip_auto_headers=("User-Agent", "Content-Type", "Accept"),
            max_line_size=16_384,
            max_field_size=16_384,
            # Answers are asked for as they are; one that is compressed all the same could be a bomb.
            auto_decompress=False,
        )

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
        waits = Waits.of(self._settings, timeouts, _now(), has_alternative=has_alternative)
        self._in_use += 1
        try:
            response = await self._request(method, url, headers, body, waits)
            _refuse_compressed(response)
        except BaseException:
            self._leave()
            raise
        return HttpAnswer(response, waits, self._settings.answer_size_bytes_max, self._leave)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def _request(
        self, method: str, url: URL, headers: CIMultiDict[str], body: Body, waits: Waits
    ) -> aiohttp.ClientResponse:
        upload = None if body is None or isinstance(body, bytes) else _Upload(body, waits)
        data: bytes | io.BytesIO | _Upload | None = upload
        if isinstance(body, bytes):
            # A large one leaves in pieces, so that other calls go on in between.
            data = io.BytesIO(body) if len(body) > _SENT_AT_ONCE_BYTES_MAX else body
        connect = waits.connect_seconds
        try:
            async with waits.first_byte(_now()) as patience:
                if upload is not None:
                    upload.patience = patience
                return await self._session.request(
                    method,
                    url,
                    headers=headers,
                    data=data,
                    allow_redirects=False,
                    compress=False,
                    timeout=aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect),
                )
        except _NOT_SENT as error:
            most = self._settings.connections_max
            if isinstance(error, aiohttp.ConnectionTimeoutError) and self._in_use > most:
                raise UpstreamFailed("no_room", f"all {most} connections are in use") from error
            raise UpstreamFailed("not_sent", _describe(error)) from error
        except TimeoutError:
            raise UpstreamFailed("timed_out", "no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            if upload is not None and upload.error is not None:
                raise upload.error from None
            raise UpstreamFailed("lost", _describe(error)) from error
        finally:
            if upload is not None:
                upload.patience = None

    def _leave(self) -> None:
        self._in_use -= 1


class _Upload:
    """A body that comes in pieces: as long as they come, the wait for an answer has not begun."""

    def __init__(self, body: AsyncIterator[bytes], waits: Waits) -> None:
        self._body = body
        self._waits = waits
        self.patience: asyncio.Timeout | None = None
        """That wait, until there is an answer."""
        self.error: Exception | None = None
        """What the body itself has failed with."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await anext(self._body)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.error = error
            raise
        if self.patience is not None and not self.patience.expired():
            self.patience.reschedule(self._waits.first_byte_at(_now()))
        return piece


def _refuse_compressed(response: aiohttp.ClientResponse) -> None:
    """Raise for a good answer that nobody here can read; a bad one need not be read."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity") and response.status < HTTPStatus.MULTIPLE_CHOICES:
        response.close()
        raise UpstreamFailed("nonsense", f"its answer is compressed ({encoding[:20]!r}), which was not asked for")


def _now() -> float:
    return asyncio.get_running_loop().time()


def _describe(error: BaseException) -> str:
    """Return in one line what happened, for operators."""
    for kind, problem in _CONNECT_PROBLEMS:
        if isinstance(error, kind):
            return f"{problem}: {str(error.__cause__)[:200]}".removesuffix(": ")
    return f"{type(error).__name__}: {str(error)[:200]}"
