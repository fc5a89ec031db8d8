"""WebSockets to upstreams through aiohttp: sends and receives whole messages. Redirects are not followed.

It has connections of its own: a socket lasts for an hour, and must not take the place of calls. Imported with the first
one only (`socket_client.py`), as aiohttp takes a fifth of a second and 7 MiB.
"""

import asyncio
from typing import Any, Final, cast

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from app.setting_groups import Server
from app.setting_groups import Upstream as UpstreamSettings
from app.upstreams.failure import UpstreamFailed
from app.upstreams.name_client import Resolver
from app.upstreams.socket import SocketRefused, UpstreamSocket

_OPEN_SECONDS_MAX: Final = 30.0
_GOODBYE_SECONDS: Final = 1.0
_NOT_SENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
_LOST: Final = (aiohttp.ClientError, OSError)


class AiohttpSocket(UpstreamSocket):
    """A socket that aiohttp opened."""

    def __init__(self, socket: "aiohttp.ClientWebSocketResponse[Any]") -> None:
        self._socket = socket
        self.subprotocol: str | None = socket.protocol

    async def receive(self) -> str | bytes | None:
        """Return the next message, None once the socket is closed."""
        message = await self._socket.receive()
        return message.data if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY) else None

    async def send(self, text: str) -> None:
        """Send a message; raises UpstreamFailed once the socket is closed."""
        try:
            await self._socket.send_str(text)
        except _LOST as error:
            raise UpstreamFailed("lost", str(error)[:200]) from error

    async def close(self) -> None:
        """Close it."""
        await self._socket.close()

    def ended(self) -> str:
        """Return how it came to its end."""
        error = self._socket.exception()
        return f"close code {self._socket.close_code}" + (f", {type(error).__name__}: {error}"[:200] if error else "")


class AiohttpClient:
    """Opens sockets to all upstreams."""

    def __init__(self, settings: UpstreamSettings, server: Server, resolver: Resolver | None) -> None:
        self._server = server
        self._open_seconds = min(_OPEN_SECONDS_MAX, settings.first_byte_timeout_seconds)
        tracing = aiohttp.TraceConfig()
        tracing.on_request_redirect.append(_refuse_redirect)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, ttl_dns_cache=60, resolver=cast("AbstractResolver | None", resolver)
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Content-Type", "Accept"),
            trace_configs=[tracing],
        )

    async def open(self, url: URL, headers: CIMultiDict[str], subprotocols: tuple[str, ...]) -> UpstreamSocket:
        """Return an open socket; raises SocketRefused, or UpstreamFailed."""
        try:
            async with asyncio.timeout(self._open_seconds):
                socket = await self._session.ws_connect(
                    url,
                    protocols=subprotocols,
                    headers=headers,
                    heartbeat=self._server.socket_ping_seconds,
                    max_msg_size=self._server.socket_message_size_bytes_max,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_GOODBYE_SECONDS),
                )
        except aiohttp.WSServerHandshakeError as error:
            raise SocketRefused(error.status) from error
        except _NOT_SENT as error:
            raise UpstreamFailed("not_sent", f"{type(error).__name__}: {str(error)[:200]}") from error
        except TimeoutError:
            raise UpstreamFailed("timed_out", "no answer in time") from None
        except _LOST as error:
            raise UpstreamFailed("lost", f"{type(error).__name__}: {str(error)[:200]}") from error
        return AiohttpSocket(socket)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


async def _refuse_redirect(
    _session: aiohttp.ClientSession, _context: object, params: aiohttp.TraceRequestRedirectParams
) -> None:
    """Stop at a redirect: it could lead anywhere, with Weir's credential."""
    raise SocketRefused(params.response.status)
