"""Carries one WebSocket: messages both ways, each as fast as the other end reads, until one of many things ends it.

Whatever ends it, what is under way is settled first and everything is closed after that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, NamedTuple

from app.core.clock import monotonic_seconds
from app.errors import Bug, Operational, Refusal, UpstreamTimeout, UpstreamUnreachable, WeirError
from app.gateway.socket import (
    BROKEN,
    GOING_AWAY,
    NORMAL,
    REFUSED,
    RESTARTING,
    ClientGone,
    ClientSocket,
    End,
    Left,
    Meter,
    MustClose,
)
from app.observability.context import CallContext
from app.socket_errors import SocketExpired, SocketIdle
from app.upstreams.failure import UpstreamFailed, of_failure
from app.upstreams.socket_service import OpenSocket

_LOOK_SECONDS: Final = 1.0
_GOODBYE_SECONDS: Final = 5.0


class SessionRules(NamedTuple):
    """How long a socket may be open, silent, and waiting for its upstream in the middle of an answer."""

    seconds_max: float
    idle_seconds: float
    silent_seconds: float


class SocketSession:
    """One socket from its opening to its end."""

    def __init__(
        self,
        client: ClientSocket,
        rules: SessionRules,
        require_allowed: Callable[[], Awaitable[object]],
        context: CallContext,
    ) -> None:
        self._client = client
        self._rules = rules
        self._require_allowed = require_allowed
        self._context = context
        self._meter: Meter
        self._upstream: OpenSocket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._reading: asyncio.Task[None]
        self._ending: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._is_quiet = asyncio.Event()
        self._is_closing = False
        self._active_seconds = monotonic_seconds()
        self._waiting_seconds: float | None = None
        """Since when the upstream is waited for; None while the caller is."""

    def attach(self, upstream: OpenSocket) -> None:
        """Relay what *upstream* sends, from now on; it is closed with the socket."""
        self._upstream = upstream
        self._start(self._relay_down(upstream))

    async def run(self, meter: Meter) -> None:
        """Relay until the end; raises what nobody foresaw, after everything was settled and closed."""
        self._meter = meter
        self._reading = self._start(self._relay_up())
        self._start(self._watch())
        end = End("client_left", BROKEN, error=Bug())
        try:
            end = await self._ending
            if end.waits:
                end = await self._last_words(end)
        except asyncio.CancelledError:  # Weir stops, and the grace period is over
            end = End("client_left", RESTARTING)
            raise
        finally:
            await self._finish(end)

    def _start(self, work: Coroutine[None, None, End]) -> asyncio.Task[None]:
        async def run() -> None:
            try:
                self._end(await work)
            except ClientGone:
                self._end(End("client_left", NORMAL))
            except UpstreamFailed as failure:
                self._end(self._broken(failure.reason))
            except WeirError as error:
                self._end(End("client_left", BROKEN, error=error))
            except Exception as error:  # noqa: BLE001 - raised by `run`
                with suppress(asyncio.InvalidStateError):  # it has ended by something else
                    self._ending.set_exception(error)

        task = asyncio.create_task(run(), name="socket")
        self._tasks.append(task)
        return task

    def _end(self, end: End) -> None:
        if not self._ending.done():
            self._ending.set_result(end)

    async def _last_words(self, end: End) -> End:
        """Let what is under way end, and return how the socket ends then."""
        self._is_closing = True
        self._reading.cancel()
        if end.error is not None:
            with suppress(ClientGone):
                await self._tell(end)
        self._ending = asyncio.get_running_loop().create_future()
        self._is_quiet.clear()
        quiet = asyncio.create_task(self._is_quiet.wait())
        either: tuple[asyncio.Future[Any], ...] = (self._ending, quiet)
        try:
            if not self._meter.is_idle():
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            quiet.cancel()
        return self._ending.result() if self._ending.done() else end._replace(error=None)

    async def _relay_up(self) -> End:
        while True:
            message = await self._client.receive()
            if isinstance(message, Left):
                if message.is_stopping:
                    return End("client_left", RESTARTING, "Weir is restarting.", waits=True)
                return End("client_left", NORMAL)
            self._active_seconds = monotonic_seconds()
            try:
                frames = await self._meter.from_client(message)
            except MustClose as closing:
                return _closing(closing)
            except (Refusal, Operational) as error:
                self._context.fail(error)
                await self._client.send(self._meter.error_event(error, message))
                continue
            for frame in frames:
                assert self._upstream is not None, "a meter sends nothing before there is an upstream"  # noqa: S101
                await self._upstream.socket.send(frame)

    async def _relay_down(self, upstream: OpenSocket) -> End:
        while True:
            self._waiting_seconds = monotonic_seconds()
            message = await upstream.socket.receive()
            self._active_seconds, self._waiting_seconds = monotonic_seconds(), None
            if message is None:
                break
            relayed = await self._meter.from_upstream(message)
            for piece in relayed.down:
                await self._client.send(piece)
            for frame in relayed.up:
                await upstream.socket.send(frame)
            if not self._is_closing:
                await self._prepare(upstream, relayed.closing)
            if self._meter.is_idle():
                self._is_quiet.set()
        if self._meter.is_idle():
            return End("upstream_broke", GOING_AWAY, "The upstream closed the connection.")
        return self._broken(upstream.socket.ended())

    async def _prepare(self, upstream: OpenSocket, closing: MustClose | None) -> None:
        """Have what the upstream may begin next paid for; where that cannot be, end the socket."""
        try:
            for frame in await self._meter.prepare():
                await upstream.socket.send(frame)
        except MustClose as error:
            closing = error
        if closing is not None:
            self._is_closing = True
            self._end(_closing(closing))

    async def _watch(self) -> End:
        """End what lasts too long, is silent for too long, or is not allowed any more."""
        began_seconds = monotonic_seconds()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = monotonic_seconds()
            if now - began_seconds > self._rules.seconds_max:
                return End("client_left", GOING_AWAY, error=SocketExpired(self._rules.seconds_max))
            if now - self._active_seconds > self._rules.idle_seconds:
                return End("client_left", GOING_AWAY, error=SocketIdle(self._rules.idle_seconds))
            waiting_seconds = self._waiting_seconds
            is_silent = waiting_seconds is not None and now - waiting_seconds > self._rules.silent_seconds
            if is_silent and not self._meter.is_idle():
                return self._silent()
            try:
                await self._require_allowed()
            except Refusal as error:
                return End("client_left", REFUSED, error=error)
            except Operational:  # a key is never refused because the database is away
                continue

    def _broken(self, reason: str) -> End:
        """Return the end of a socket whose upstream closed it in the middle of an answer, or did not take an event."""
        error = UpstreamUnreachable(f"The connection to the upstream '{self._fail()}' broke.")
        error.__cause__ = UpstreamFailed("lost", reason)
        return End("upstream_broke", BROKEN, error=error)

    def _silent(self) -> End:
        name = self._fail()
        return End(
            "upstream_broke", error=UpstreamTimeout(f"The upstream '{name}' stopped in the middle of its answer.")
        )

    def _fail(self) -> str:
        assert self._upstream is not None, "only an upstream that there is can break"  # noqa: S101
        self._upstream.failed(of_failure("lost", is_after_head=True))
        return self._upstream.target.upstream.name

    async def _tell(self, end: End) -> None:
        assert end.error is not None  # noqa: S101
        self._context.fail(end.error)
        await self._client.send(self._meter.error_event(end.error))

    async def _finish(self, end: End) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._context.client_left = end.outcome == "client_left" and not self._meter.is_idle()
        self._meter.end(end.outcome)
        with suppress(ClientGone, TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                if end.error is not None:
                    await self._tell(end)
                reason = end.reason or (end.error.code if end.error is not None else "")
                await self._client.close(end.code, reason or "")
        if self._upstream is not None:
            await self._upstream.close()


def _closing(closing: MustClose) -> End:
    return End("client_left", closing.code, closing.error.code or "", closing.error, waits=True)
