"""HTTP to upstreams: one request out, one answer in, its bytes untouched. The only place that opens connections.

Redirects are not followed and cookies not kept. Closing an answer that is not at its end closes its connection, which
is how an upstream learns that nobody listens any more.
"""

import asyncio
import io
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final, Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from app.setting_groups import Upstream as UpstreamSettings
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.failure import UpstreamFailed

_READ_BUFFER_BYTES: Final = 65_536
_SENT_AT_ONCE_BYTES_MAX: Final = 1_048_576
# What a connection attempt can fail with: DNS, refusal, TLS, a bad certificate. Nothing was sent in any of these.
_NOT_SENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


class HttpAnswer(UpstreamAnswer):
    """An answer that aiohttp is receiving."""

    def __init__(self, response: aiohttp.ClientResponse, settings: UpstreamSettings, deadline_seconds: float) -> None:
        self._response = response
        self._settings = settings
        self._deadline_seconds = deadline_seconds
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    def header_items(self) -> Iterable[tuple[str, str]]:
        """Return the headers in order, repeated ones too."""
        return self._response.headers.items()

    async def read_some(self) -> bytes:
        """Return the next bytes of the body, b"" at its end; raises UpstreamFailed."""
        try:
            async with _timeout(self._settings.between_chunks_timeout_seconds, self._deadline_seconds):
                return await self._response.content.readany()
        except TimeoutError:
            self.close()
            raise UpstreamFailed("timed_out", "silent for too long, or too long in total") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamFailed("lost", _describe(error)) from error

    async def read_all(self) -> bytes:
        """Return the whole body; raises UpstreamFailed, also when it is longer than is allowed."""
        parts: list[bytes] = []
        size = 0
        while part := await self.read_some():
            parts.append(part)
            size += len(part)
            if size > self._settings.answer_size_bytes_max:
                self.close()
                raise UpstreamFailed("lost", f"its answer is longer than {self._settings.answer_size_bytes_max} bytes")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class UpstreamClient:
    """A pool of connections to all upstreams."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self._settings = settings
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=settings.connections_max, ttl_dns_cache=60),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=settings.connect_timeout_seconds, sock_connect=settings.connect_timeout_seconds
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER_BYTES,
            skip_auto_headers=("User-Agent", "Content-Type", "Accept"),
            max_line_size=16_384,
            max_field_size=16_384,
        )

    async def send(self, method: str, url: URL, headers: CIMultiDict[str], body: bytes | None) -> UpstreamAnswer:
        """Send one request and return its answer as soon as the head is here; raises UpstreamFailed."""
        deadline_seconds = asyncio.get_running_loop().time() + self._settings.total_timeout_seconds
        # A large body leaves in pieces, so that other calls go on in between.
        data = io.BytesIO(body) if body and len(body) > _SENT_AT_ONCE_BYTES_MAX else body
        try:
            async with _timeout(self._settings.first_byte_timeout_seconds, deadline_seconds):
                response = await self._session.request(
                    method, url, headers=headers, data=data, allow_redirects=False, compress=False
                )
        except _NOT_SENT as error:
            raise UpstreamFailed("not_sent", _describe(error)) from error
        except TimeoutError:
            raise UpstreamFailed("timed_out", "no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamFailed("lost", _describe(error)) from error
        return HttpAnswer(response, self._settings, deadline_seconds)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


def _timeout(seconds: float, deadline_seconds: float) -> asyncio.Timeout:
    """Return a timeout that strikes after *seconds*, or at *deadline_seconds* on the loop's clock if that is sooner."""
    return asyncio.timeout_at(min(asyncio.get_running_loop().time() + seconds, deadline_seconds))


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
