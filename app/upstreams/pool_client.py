"""The connections to all upstreams: opened where none is to spare, and kept for a while when nobody needs them.

Each new one goes to an address that the resolver allows at that moment, or did so within the last minute.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from functools import cached_property
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from aiohappyeyeballs import start_connection

from app.core.keep_alive import make_socket
from app.upstreams.connection_client import Connection
from app.upstreams.failure import UpstreamFailed
from app.upstreams.name_client import Resolver, SystemResolver

_IDLE_SECONDS_MAX: Final = 15.0
_NAME_SECONDS: Final = 60.0
_NEXT_ADDRESS_SECONDS: Final = 0.25
"""After which the next address of a name is tried as well (RFC 8305, section 5)."""

_Address = tuple[int, int, int, str, tuple[Any, ...]]


class Origin(NamedTuple):
    """Who is spoken to, and whether over TLS."""

    scheme: str
    host: str
    port: int


class _Name(NamedTuple):
    addresses: asyncio.Task[Sequence[_Address]]
    until: float


class Pool:
    """Connections, of which *connections_max* can be in use at once."""

    def __init__(self, connections_max: int, resolver: Resolver | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._connections_max = connections_max
        self._resolver = resolver or SystemResolver()
        # A semaphore costs more than all else that is done here, so it is only for those that have to wait.
        self._free = connections_max
        self._waiting = 0
        self._handed_over = asyncio.Semaphore(0)
        self._idle: dict[Origin, dict[Connection, float]] = {}
        """And since when, the oldest first."""
        self._names: dict[Origin, _Name] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def take_idle(self, origin: Origin) -> Connection | None:
        """Return a connection as `take` does if one is idle; None, and none is taken, if not."""
        connection = self._find_idle(origin) if self._free else None
        if connection is not None:
            self._free -= 1
        return connection

    async def take(self, origin: Origin, until: float) -> Connection:
        """Return a connection on which nothing is asked, to be given back once; waits *until*, by the loop's clock.

        Raises UpstreamFailed, and then nothing was sent.
        """
        if self._free:
            self._free -= 1
        else:
            self._waiting += 1
            try:
                async with asyncio.timeout_at(until):
                    await self._handed_over.acquire()
            except TimeoutError:
                reason = f"all {self._connections_max} connections are in use"
                raise UpstreamFailed("no_room", reason) from None
            finally:
                self._waiting -= 1
        try:
            return self._find_idle(origin) or await self._open(origin, until)
        except BaseException:
            self._make_room()
            raise

    def give_back(self, origin: Origin, connection: Connection) -> None:
        """Keep *connection* for the next request, or close it where its last answer did not come to its end."""
        self._make_room()
        if not connection.is_reusable:
            connection.close()
            return
        idle = self._idle.setdefault(origin, {})
        idle[connection] = self._loop.time()
        connection.on_lost = idle.__delitem__
        if self._sweep is None:
            self._sweep = self._loop.call_later(_IDLE_SECONDS_MAX, self._close_idle)

    def close(self) -> None:
        """Close the connections that nobody uses; the others close when they are given back."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._close_idle(since=self._loop.time())

    def _make_room(self) -> None:
        if self._waiting:
            self._handed_over.release()
        else:
            self._free += 1

    def _find_idle(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection, _ = idle.popitem()
            connection.on_lost = None
            if connection.is_reusable:
                return connection
        return None

    def _close_idle(self, since: float | None = None) -> None:
        since = self._loop.time() - _IDLE_SECONDS_MAX if since is None else since
        for idle in self._idle.values():
            for connection in [each for each, idle_since in idle.items() if idle_since <= since]:
                del idle[connection]
                connection.close()
        is_needed = any(self._idle.values())
        self._sweep = self._loop.call_later(_IDLE_SECONDS_MAX, self._close_idle) if is_needed else None

    async def _open(self, origin: Origin, until: float) -> Connection:
        try:
            async with asyncio.timeout_at(until):
                return await self._connect(origin, await self._addresses(origin))
        except TimeoutError:
            raise UpstreamFailed("not_sent", "no connection in time") from None

    async def _connect(self, origin: Origin, addresses: Sequence[_Address]) -> Connection:
        tls = self._tls if origin.scheme == "https" else None
        try:
            connected = await start_connection(
                addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS, socket_factory=make_socket
            )
            try:
                _, connection = await self._loop.create_connection(
                    Connection, sock=connected, ssl=tls, server_hostname=origin.host if tls else None
                )
            except BaseException:
                connected.close()
                raise
        except ssl.SSLCertVerificationError as error:
            raise _not_sent("its TLS certificate is not valid", error) from error
        except ssl.SSLError as error:
            raise _not_sent("it cannot be spoken to with TLS", error) from error
        except OSError as error:
            self._names.pop(origin, None)
            raise _not_sent("no connection", error) from error
        return connection

    async def _addresses(self, origin: Origin) -> Sequence[_Address]:
        known = self._names.get(origin)
        if known is None or self._loop.time() >= known.until:
            task = self._loop.create_task(self._look_up(origin))
            # Taken note of, should nobody wait for it any more.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            known = self._names[origin] = _Name(task, self._loop.time() + _NAME_SECONDS)
        try:
            return await asyncio.shield(known.addresses)
        except OSError as error:
            self._names.pop(origin, None)
            raise _not_sent("its name cannot be resolved", error) from error

    async def _look_up(self, origin: Origin) -> Sequence[_Address]:
        literal = _literal(origin)
        if literal is not None:
            return [literal]
        found = await self._resolver.resolve(origin.host, origin.port, socket.AF_UNSPEC)
        if not found:
            raise OSError("it has no address")
        return [(each["family"], socket.SOCK_STREAM, each["proto"], "", (each["host"], each["port"])) for each in found]

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()


def _literal(origin: Origin) -> _Address | None:
    """Return the address that the host is written as, None for a name."""
    try:
        family = socket.AF_INET if ip_address(origin.host).version == 4 else socket.AF_INET6
    except ValueError:
        return None
    return family, socket.SOCK_STREAM, 0, "", (origin.host, origin.port)


def _not_sent(problem: str, error: OSError) -> UpstreamFailed:
    return UpstreamFailed("not_sent", f"{problem}: {str(error)[:200]}")
