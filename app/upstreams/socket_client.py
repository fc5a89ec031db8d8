"""WebSockets to upstreams: `aiohttp_client.py`, which is imported when the first one is opened.

Most installations never open one, and would keep aiohttp in memory for nothing.
"""

import asyncio
import importlib
from typing import TYPE_CHECKING, Final

from multidict import CIMultiDict
from yarl import URL

from app.setting_groups import Server
from app.setting_groups import Upstream as UpstreamSettings
from app.upstreams.name_client import Resolver
from app.upstreams.socket import UpstreamSocket

if TYPE_CHECKING:
    from app.upstreams.aiohttp_client import AiohttpClient

_CLIENT: Final = "app.upstreams.aiohttp_client"


class SocketClient:
    """Opens sockets to all upstreams."""

    def __init__(self, settings: UpstreamSettings, server: Server, resolver: Resolver | None = None) -> None:
        self._options = settings, server, resolver
        self._client: AiohttpClient | None = None

    async def open(self, url: URL, headers: CIMultiDict[str], subprotocols: tuple[str, ...]) -> UpstreamSocket:
        """Return an open socket; raises SocketRefused, or UpstreamFailed."""
        module = await asyncio.to_thread(importlib.import_module, _CLIENT)  # everybody would wait for it here
        if self._client is None:
            self._client = module.AiohttpClient(*self._options)
        return await self._client.open(url, headers, subprotocols)

    async def close(self) -> None:
        """Close every connection."""
        if self._client is not None:
            await self._client.close()
