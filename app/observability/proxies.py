"""The address of a client that came through proxies: X-Forwarded-For is believed of configured proxies only.

Pure ASGI, outside of everything else, and not there at all without such proxies. It must never raise. No other header
is read: of two that say the same, a proxy overwrites one, and a client could choose what the other says.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

Address = IPv4Address | IPv6Address

# With the port that some proxies add; without one, an IPv6 address may have brackets or not.
_WITH_PORT: Final = re.compile(r"(?:\[([^\[\]]+)\]|([0-9.]+))(?::[0-9]{1,5})?")
_ENTRY_CHARACTERS_MAX: Final = 64
_HOPS_MAX: Final = 32
"""More than any real chain has: trusted clients cannot make the reading of a header long."""


class ForwardedFor:
    """Puts the client's address where the server put that of the nearest proxy."""

    def __init__(self, app: ASGIApp, *, proxies: Iterable[str]) -> None:
        self.app = app
        self._proxies = [ip_network(proxy) for proxy in proxies]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on."""
        peer = parse_address(scope["client"][0]) if scope.get("client") else None
        if peer is not None and self._is_proxy(peer):
            address = self._client(peer, scope["headers"])
            scope = {**scope, "client": (str(address), 0)}
        await self.app(scope, receive, send)

    def _client(self, peer: Address, headers: Iterable[tuple[bytes, bytes]]) -> Address:
        """Return the nearest address that is no proxy's: each proxy adds on the right whom it was asked by.

        An entry that is no address ends the chain, as nobody who is trusted wrote it: then the last one before counts.
        """
        rest = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        address = peer
        for _ in range(_HOPS_MAX):
            rest, _, entry = rest.rpartition(b",")
            found = parse_address(entry.decode("latin-1"))
            if found is None:
                break
            address = found
            if not self._is_proxy(address):
                break
        return address

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._proxies)


def parse_address(text: str) -> Address | None:
    """Return the IP address in *text*, without a port, or None; an IPv4 address in an IPv6 one as the former."""
    text = text.strip(" \t").partition("%")[0]  # behind it, the name of a network interface means nothing elsewhere
    if len(text) > _ENTRY_CHARACTERS_MAX:
        return None
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((match[1] or match[2]) if match else text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
