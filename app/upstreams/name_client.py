"""Looks up names as the operating system does: in DNS, in its list of hosts.

In the shape that aiohttp asks for, and without importing it: no plain call needs aiohttp.
"""

import asyncio
import socket
from typing import Any, Protocol, TypedDict


class Found(TypedDict):
    """One address of a name, as `aiohttp.abc.ResolveResult`."""

    hostname: str
    host: str
    port: int
    family: int
    proto: int
    flags: int


class Resolver(Protocol):
    """Who says where a name leads."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[Found]:
        """Return the addresses of *host*; raises OSError when there are none."""

    async def close(self) -> None:
        """Close what it keeps open."""


class SystemResolver:
    """Asks `getaddrinfo`, in a thread."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[Found]:
        """Return the addresses of *host* that this machine can reach; raises OSError when there are none."""
        infos = await asyncio.get_running_loop().getaddrinfo(
            host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
        return [
            Found(
                hostname=host,
                host=_numeric(address),
                port=int(address[1]),
                family=found,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found, _, proto, _, address in infos
        ]

    async def close(self) -> None:
        """Do nothing: it keeps nothing open."""


def _numeric(address: tuple[Any, ...]) -> str:
    """Return the address with its zone, without which one that is local to a link leads nowhere (RFC 4007)."""
    host: str = address[0]
    zone = address[3] if len(address) > 2 else 0
    return f"{host}%{zone}" if zone and "%" not in host else host
