"""Group commit: items that arrive while a flush is on its way ride the next one together.

There is no timer: at low load nothing waits longer than for one turn of the event loop, at high load one commit carries
many items. An item is in exactly one batch; what a failed batch means is the flush function's decision.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

_TURNS_MAX: Final = 8
"""For how many turns of the event loop a batch waits at most, if each of them brings another item."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class GroupCommit(Generic[Item, Result]):
    """Hands batches of submitted items to `flush`, one batch at a time.

    `flush` returns one result per item, in order; when it raises, every item of its batch fails with that error.
    What was submitted cannot be called back: whoever waits for it and is cancelled only stops to wait. Then *abandoned*
    is called with the item and its result, None where there is none, so that nothing is left as if somebody had it.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        batch_max: int,
        abandoned: Callable[[Item, Result | None], object] = lambda *_: None,
    ) -> None:
        self._flush = flush
        self._batch_max = batch_max
        self._abandoned = abandoned
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._in_flight: list[tuple[Item, asyncio.Future[Result]]] = []
        self._runner: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """How many items are not committed yet."""
        return len(self._waiting) + len(self._in_flight)

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Queue *item* for the next batch; the future resolves when its batch is committed."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name="group-commit")
        return future

    def take_pending(self) -> list[Item]:
        """Give up: stop flushing and return every item that is not known to be committed; who waits is cancelled."""
        if self._runner is not None:
            self._runner.cancel()
            self._runner = None
        pending = [*self._in_flight, *self._waiting]
        self._in_flight, self._waiting = [], []
        for _, future in pending:
            future.cancel()
        return [item for item, _ in pending]

    async def drain(self) -> None:
        """Wait until nothing is pending."""
        while self._runner is not None:
            await asyncio.wait([self._runner])

    async def _run(self) -> None:
        while self._waiting:
            await self._let_others_join()
            batch = self._in_flight = self._waiting[: self._batch_max]
            del self._waiting[: self._batch_max]
            await self._commit(batch)
            self._in_flight = []
        self._runner = None

    async def _let_others_join(self) -> None:
        """Wait while every turn brings somebody: a busy process has fewer, larger batches, and so less to do."""
        for _ in range(_TURNS_MAX):
            count = len(self._waiting)
            await asyncio.sleep(0)
            if len(self._waiting) == count or count >= self._batch_max:
                return

    async def _commit(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._flush([item for item, _ in batch])
            pairs = list(zip(batch, results, strict=True))
        except Exception as error:  # noqa: BLE001 - handed to everyone who waits for this batch
            for item, future in batch:
                if future.cancelled():
                    self._abandoned(item, None)
                else:
                    future.set_exception(error)
                    future.exception()  # the submitter may be gone; that is not an "exception never retrieved"
        else:
            for (item, future), result in pairs:
                if future.cancelled():
                    self._abandoned(item, result)
                else:
                    future.set_result(result)
