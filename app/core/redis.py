"""Redis or Valkey, one server or a cluster. It may vanish at any moment.

Losing it may loosen a limit, never lose money.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit

from hiredis import pack_command

from app.core.health import Dependency
from app.core.imports import without
from app.setting_groups import Redis as RedisSettings

with without("opentelemetry.sdk.metrics"):  # for metrics of redis-py's own, which nobody asks for: 2 MiB
    import redis.asyncio
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import (
        AskError,
        MovedError,
        NoScriptError,
        ReadOnlyError,
        RedisError,
        ResponseError,
        TryAgainError,
    )

_SLICES: Final = 5
_ANSWERS_MAX: Final = 8
"""How often a script is sent at most, to other nodes of a cluster and again, until one runs it."""
_TRY_AGAIN_SECONDS: Final = 0.005

Address = tuple[str, int]


class RedisUnavailable(Exception):
    """Redis did not do what it was asked for in time; the reason is for operators, in one line."""


class Script:
    """A Lua script, known to Redis by its digest once it has run there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Redis:
    """One server, or a cluster (https://redis.io/docs/latest/reference/cluster-spec/), which it finds out by itself.

    All keys are in one slot, so there is one node that all scripts go to. Nodes say which one; when it does not answer,
    another one is asked.
    """

    def __init__(self, url: str, settings: RedisSettings, health: Dependency) -> None:
        """Take the server's *url*; raises ValueError for one with an option that there is none of."""
        self._url = url
        self._timeout_seconds = settings.timeout_seconds
        self._health = health
        self._first = self._node = _Node(url)
        self._others: dict[Address, _Node] = {}
        self._is_single = False

    async def ping(self) -> bool:
        """Tell whether Redis answers within its timeout; the reason why not is kept in its health."""
        node = self._node
        try:
            async with _Patience(self._timeout_seconds):
                await self._look_around(node)
        except (RedisError, OSError) as error:
            self._leave(node)
            self._health.down(_reason(error))
            return False
        self._health.up()
        return True

    async def run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[str | int | bytes], timeout_seconds: float
    ) -> Any:
        """Return what *script* returns; raises RedisUnavailable when it did not within the timeout."""
        try:
            async with _Patience(timeout_seconds):
                return await self._run(script, keys, arguments)
        except (RedisError, OSError) as error:
            raise RedisUnavailable(_reason(error)) from error

    async def close(self) -> None:
        """Close every connection."""
        for node in (self._first, *self._others.values()):
            await node.close()

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int | bytes]) -> Any:
        rest = (len(keys), *keys, *arguments)
        node, is_asked = self._node, False
        for _ in range(_ANSWERS_MAX):
            try:
                return await node.run(script, rest, is_asked=is_asked)
            except MovedError as moved:
                node, is_asked = self._at(moved, node), False
                self._node = node
            except AskError as moving:  # this time only: the slot is on its way
                node, is_asked = self._at(moving, node), True
            except TryAgainError:  # some of the keys have gone to another node already, and some have not
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
            except (RedisError, OSError, asyncio.CancelledError):
                self._leave(node)
                raise
        raise RedisError("the nodes of the cluster do not agree on which of them has the keys")

    def _at(self, elsewhere: AskError, node: "_Node") -> "_Node":
        """Return the node that *node* sends us to; without a host it means another port of its own."""
        return self._other((elsewhere.host or node.host, elsewhere.port))

    def _other(self, address: Address) -> "_Node":
        if address not in self._others:
            self._others[address] = _Node(_url_at(self._url, address))
        return self._others[address]

    def _leave(self, node: "_Node") -> None:
        """Begin with another node the next time, if there is one."""
        if self._node is node:
            nodes = [self._first, *self._others.values()]
            self._node = nodes[(nodes.index(node) + 1) % len(nodes)]

    async def _look_around(self, node: "_Node") -> None:
        """Ask *node* for the nodes of its cluster, or just for an answer where there is none."""
        if self._is_single:
            await node.client.ping()
            return
        try:
            ranges = await node.client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
        except ResponseError:  # no cluster; or no permission to ask, and then what moves is followed all the same
            self._is_single = True
            return
        here = {((host or b"").decode() or node.host, port) for _, _, *nodes in ranges for host, port, *_ in nodes}
        gone = [address for address, other in self._others.items() if address not in here and other is not self._node]
        for address in gone:
            await self._others.pop(address).close()
        for address in here:
            self._other(address)


class _Patience:
    """Bounds what runs inside, as `asyncio.timeout` does, but in slices; raises TimeoutError.

    What the event loop is late by counts as one slice, and then there is time left to read what came meanwhile.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._slices = _SLICES
        self._bound = asyncio.timeout(None)
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> None:
        await self._bound.__aenter__()
        self._begin_slice()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        try:
            await self._bound.__aexit__(kind, error, trace)
        except TimeoutError:
            raise TimeoutError(f"no answer within {self._timeout_seconds:g} seconds") from error

    def _begin_slice(self) -> None:
        self._timer = self._loop.call_later(self._timeout_seconds / _SLICES, self._end_slice)

    def _end_slice(self) -> None:
        self._slices -= 1
        if self._slices:
            self._begin_slice()
        else:
            self._bound.reschedule(self._loop.time())


class _Node:
    """The connections to one server."""

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).hostname or ""
        try:
            # Without timeouts of its own, which would take a busy event loop for a slow Redis: who asks is patient.
            self.client = redis.asyncio.Redis.from_url(
                url, socket_timeout=None, socket_connect_timeout=None, retry=Retry(NoBackoff(), 0)
            )
            # Connects to nobody yet.
            self.client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        except (TypeError, ValueError) as error:
            raise ValueError(f"WEIR_REDIS_URL: an option behind its ? cannot be used: {error}") from None
        self._spare: list[Any] = []

    async def run(self, script: Script, rest: Sequence[str | int | bytes], *, is_asked: bool) -> Any:
        """Return what *script* returns; where *is_asked*, though the node does not have the slot yet."""
        # The client's own commands cost twice as much: it writes them in Python, argument by argument.
        connection = await self._take()

        async def send(*words: Any) -> Any:
            if is_asked:
                await connection.send_packed_command(pack_command(("ASKING",)))
                await connection.read_response()
            await connection.send_packed_command(pack_command(words))
            return await connection.read_response()

        try:
            try:
                answer = await send("EVALSHA", script.digest, *rest)
            except NoScriptError:  # a Redis that was started anew, or whose scripts were flushed
                answer = await send("EVAL", script.text, *rest)
        except BaseException as error:
            await self.client.connection_pool.release(connection)
            if isinstance(error, ReadOnlyError):
                await self._disconnect()
            raise
        self._spare.append(connection)
        return answer

    async def _take(self) -> Any:
        """Return a connection: one that is here, or else the pool's, which takes far longer to give and take."""
        while self._spare:
            connection = self._spare.pop()
            with suppress(OSError):
                if not await connection.can_read():
                    return connection
            # It was closed meanwhile, or says what nobody has asked for: the pool makes it anew.
            await self.client.connection_pool.release(connection)
        return await self.client.connection_pool.get_connection()  # type: ignore[no-untyped-call]

    async def _disconnect(self) -> None:
        """Leave a server that is a replica now: behind the same name, new connections may find the new primary."""
        while self._spare:
            await self.client.connection_pool.release(self._spare.pop())
        await self.client.connection_pool.disconnect()

    async def close(self) -> None:
        await self.client.aclose()


def _url_at(url: str, address: Address) -> str:
    """Return *url* with another address: password and options are the same on every node."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return parts._replace(netloc=f"{user}{at}{host}:{address[1]}").geturl()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
