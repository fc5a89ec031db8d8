"""Group commit: items that arrive while a flush is on its way ride the next one together.

At low load nothing that somebody waits for waits longer than for one turn of the event loop, at high load one commit
carries many items. What nobody waits for may come a little later: a batch alone costs its process several times what an
item more in another costs. An item is in exactly one batch; what a failed batch means is the flush function's decision.
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
        self._is_due = False
        """Something of what waits is not to wait any longer."""
        self._due_later: asyncio.TimerHandle | None = None
        """When that becomes so, if nobody hurries meanwhile."""

    @property
    def pending(self) -> int:
        """How many items are not committed yet."""
        return len(self._waiting) + len(self._in_flight)

    def submit(self, item: Item, *, within_seconds: float = 0.0) -> asyncio.Future[Result]:
        """Queue *item* for the next batch; the future resolves when its batch is committed.

        That batch is begun at once if nothing else is on its way, or with the next item that is not patient, or
        *within_seconds*.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future))
        if self._is_due:  # the runner is about to come for it
            return future
        if not within_seconds:
            self.hurry()
        elif self._due_later is None:
            self._due_later = loop.call_later(within_seconds, self.hurry)
        return future

    def hurry(self) -> None:
        """Let nothing that waits now wait for more items."""
        if not self._waiting:
            return
        self._be_due(is_due=True)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name="group-commit")

    def take_pending(self) -> list[Item]:
        """Give up: stop flushing and return every item that is not known to be committed; who waits is cancelled."""
        if self._runner is not None:
            self._runner.cancel()
            self._runner = None
        self._be_due(is_due=False)
        pending = [*self._in_flight, *self._waiting]
        self._in_flight, self._waiting = [], []
        for _, future in pending:
            future.cancel()
        return [item for item, _ in pending]

    async def drain(self) -> None:
        """Wait until nothing is pending."""
        self.hurry()
        while self._runner is not None:
            await asyncio.wait([self._runner])
            self.hurry()

    def _be_due(self, *, is_due: bool) -> None:
        self._is_due = is_due
        if self._due_later is not None:
            self._due_later.cancel()
            self._due_later = None

    async def _run(self) -> None:
        while self._is_due:
            await self._let_others_join()
            batch = self._in_flight = self._waiting[: self._batch_max]
            del self._waiting[: self._batch_max]
            self._be_due(is_due=bool(self._waiting))
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
