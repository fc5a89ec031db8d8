"""LISTEN/NOTIFY: tells every process within milliseconds that something it remembers has changed.

A notice may be lost while the connection is down; so listeners are told after every reconnect too, and what they
remember must age out by itself.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import structlog

from app.core.db import Database

_log: Final = structlog.get_logger()
_RECONNECT_SECONDS: Final = 0.5
_KEEP_ALIVE_SECONDS: Final = 10.0

Listener = Callable[[str], None]


class Notices:
    """One connection that listens on the channels somebody subscribed to, and comes back when it is cut."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._listeners: dict[str, list[Listener]] = {}
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, channel: str, listener: Listener) -> None:
        """Call *listener* with the payload of each notice on *channel*, and with "" when notices may have been lost."""
        self._listeners.setdefault(channel, []).append(listener)

    def start(self) -> None:
        """Begin to listen, in the background."""
        self._task = asyncio.create_task(self._run(), name="notices")

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 - whatever it is: nobody else would begin to listen again
                _log.debug("notices_reconnecting", reason=type(error).__name__)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen(self) -> None:
        connection = await self._db.connect()
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _: closed.set())
        try:
            async with asyncio.timeout(_KEEP_ALIVE_SECONDS):
                for channel in self._listeners:
                    await connection.add_listener(channel, self._received)
            for channel in self._listeners:
                self._tell(channel, "")
            while not closed.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(closed.wait(), _KEEP_ALIVE_SECONDS)
                    continue
                await connection.execute("SELECT 1", timeout=_KEEP_ALIVE_SECONDS)
        finally:
            connection.terminate()

    def _received(self, _connection: Any, _pid: int, channel: str, payload: object) -> None:
        self._tell(channel, str(payload))

    def _tell(self, channel: str, payload: str) -> None:
        for listener in self._listeners[channel]:
            try:
                listener(payload)
            except Exception as error:  # noqa: BLE001 - the others must hear of it all the same
                _log.warning("notice_not_handled", channel=channel, reason=f"{type(error).__name__}: {error}")
