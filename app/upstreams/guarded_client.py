"""The resolver of connections to upstreams: what DNS says counts only where the operator lets upstreams be.

It is asked for every new connection, so a name that leads elsewhere later (DNS rebinding) is refused then.
"""

import asyncio
import errno
import socket
from typing import Final

from app.upstreams.address import NEEDS_TLS, AddressRules, Place
from app.upstreams.name_client import Found, Resolver, SystemResolver

_LOOK_UP_TIMEOUT_SECONDS: Final = 5.0


class GuardedResolver:
    """Looks up names, and leaves out the addresses that are refused."""

    def __init__(self, rules: AddressRules) -> None:
        self._rules = rules
        self._resolver: Resolver = SystemResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[Found]:
        """Return the addresses of *host* that may be connected to; raises OSError, also when none of them may be."""
        found = await self._resolver.resolve(host, port, family)
        if self._rules.trusts(host, port):
            return found
        allowed = [each for each in found if self._rules.refusal(each["host"]) is None]
        if found and not allowed:
            first = found[0]["host"]
            raise PermissionError(errno.EACCES, f"it leads to {first}: {self._rules.refusal(first)}")
        return allowed

    async def refusal(self, place: Place) -> str | None:
        """Return why an upstream may not be at *place*, by what DNS says now; None if it may, or DNS does not tell."""
        reason = self._rules.url_refusal(place)
        if reason is not None or place.address is not None or self._rules.trusts(place.host, place.port):
            return reason
        try:
            async with asyncio.timeout(_LOOK_UP_TIMEOUT_SECONDS):
                found = await self._resolver.resolve(place.host, place.port, socket.AF_UNSPEC)
        except OSError:  # a timeout is one too
            return None
        for address in (each["host"] for each in found):
            if (reason := self._rules.refusal(address)) is not None:
                return f"it leads to {address}: {reason}"
            if place.scheme == "http" and not self._rules.is_inside(address):
                return f"it leads to {address}: {NEEDS_TLS}"
        return None

    async def close(self) -> None:
        """Close the resolver."""
        await self._resolver.close()
