"""The simulator's own books: one record per call that arrived, so that Weir's ledger can be compared with them.

A record is open until the call's ending is known. Bounded: old records, headers and bodies go; credentials never stay.
"""

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final

from app.core.clock import Clock, utc_now
from app.simulator.call import Arrival, Call, Ending
from app.simulator.costs import Costs

CALLS_MAX: Final = 200_000
ARRIVALS_MAX: Final = 1_000


class Account:
    """The calls since the last reset, the newest 200,000 of them, in the order of their arrival."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._origin = secrets.token_hex(6)
        self._sequence = 0
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.reset()

    def reset(self) -> None:
        """Forget every call and cost; sequence numbers go on, and calls still open are not counted when they end."""
        self._since = self._sequence
        self._calls: deque[Call] = deque(maxlen=CALLS_MAX)
        self._recent: deque[Call] = deque()
        self._totals: Counter[str] = Counter()
        self._ended_count = 0
        self.costs = Costs()

    @property
    def calls(self) -> Sequence[Call]:
        """A copy of the records; an open one has no ending."""
        return list(self._calls)

    @property
    def totals(self) -> dict[str, int]:
        """Sums over the calls that ended since the reset, also those no longer kept: tokens, and calls by ending."""
        return dict(self._totals)

    @property
    def arrived_count(self) -> int:
        """How many calls arrived since the reset."""
        return self._sequence - self._since

    @property
    def ended_count(self) -> int:
        """How many of them ended."""
        return self._ended_count

    def find_after(self, sequence: int, limit: int) -> list[Call]:
        """Return at most *limit* records whose sequence number is above *sequence*, oldest first."""
        skipped = max(0, sequence + 1 - self._calls[0].sequence) if self._calls else 0
        return list(islice(self._calls, skipped, skipped + limit))

    def open(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> Call:
        """Return a new, open record of a call that arrived just now."""
        self._sequence += 1
        arrival = Arrival.of(headers)
        own_id = f"req_{self._origin}{self._sequence:012x}"
        arrived_at = int(self._clock().timestamp())
        call = Call(self._sequence, own_id, arrival.find(b"x-request-id"), method, path, arrival, arrived_at)
        self._calls.append(call)
        self._recent.append(call)
        if len(self._recent) > ARRIVALS_MAX:
            self._recent.popleft().arrival = None
        self._wake()
        return call

    def close(self, call: Call, ending: Ending) -> None:
        """Give *call* its ending; the first one stays."""
        if call.ending is not None:
            return
        call.ending = ending
        if call.sequence > self._since:
            self._ended_count += 1
            self.costs.add_call(call)
            totals = self._totals
            totals[ending.value] += 1
            totals["prompt_tokens"] += call.prompt_tokens
            totals["cached_tokens"] += call.cached_tokens
            totals["completion_tokens"] += call.completion_tokens
            totals["completion_tokens_sent"] += call.completion_tokens_sent
            self._wake()

    async def wait_for_arrivals(self, count: int, *, timeout_seconds: float = 10.0) -> Sequence[Call]:
        """Return the records as soon as *count* calls arrived since the reset; raises TimeoutError."""
        await self._wait(lambda: self.arrived_count >= count, timeout_seconds)
        return self.calls

    async def wait_for_endings(self, count: int, *, timeout_seconds: float = 10.0) -> Sequence[Call]:
        """Return the records as soon as *count* calls ended since the reset; raises TimeoutError."""
        await self._wait(lambda: self.ended_count >= count, timeout_seconds)
        return self.calls

    async def _wait(self, is_reached: Callable[[], bool], timeout_seconds: float) -> None:
        if is_reached():
            return
        waiter = (is_reached, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_seconds):
                await waiter[1]
        except TimeoutError:
            message = f"{self.arrived_count} calls arrived and {self.ended_count} ended within {timeout_seconds} s"
            raise TimeoutError(message) from None
        finally:
            self._waiters.remove(waiter)

    def _wake(self) -> None:
        for is_reached, future in self._waiters:
            if is_reached() and not future.done():
                future.set_result(None)
