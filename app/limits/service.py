"""How fast callers may go: the limits of this process, kept in memory, and the counters that all processes share.

A call under no limit costs no I/O. While Redis is away each process keeps its own share, or refuses, as is configured.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from app.core.clock import monotonic_seconds
from app.core.db import Database
from app.core.ids import new_id
from app.core.redis import RedisUnavailable
from app.core.snapshot import Snapshot
from app.errors import Unavailable
from app.limit_settings import Limits as LimitsSettings
from app.limits import repository
from app.limits.amounts import NOTHING, TOKENS, Amounts, Demand
from app.limits.defaults import default_limits
from app.limits.lease import Charge, Lease, OpenLeases, Verdict, charges_of
from app.limits.limit import Applied, LimitBook, Payer, Scope
from app.limits.refusal import rate_limited
from app.limits.share import Share
from app.limits.store import LimitStore
from app.observability.metrics import Metrics

LIMITS_CHANGED: Final = repository.CHANNEL
"""The channel on which every process hears of changed limits; see `LimitService.expire`."""


class LimitService(Snapshot):
    """Admits calls by their limits."""

    def __init__(
        self, db: Database, store: LimitStore, open_leases: OpenLeases, settings: LimitsSettings, metrics: Metrics
    ) -> None:
        super().__init__()
        self._db = db
        self._store = store
        self._open = open_leases
        self._share = Share(open_leases)
        self._settings = settings
        self._metrics = metrics
        # Leases are numbered under a name that no other process has: a random id for each would be a system call.
        self._lease_name, self._lease_numbers = new_id("lease"), count()
        self.defaults = tuple(default_limits(settings))
        """What the settings give to each project and address."""
        self._book = LimitBook(defaults=self.defaults)

    async def _load(self) -> None:
        book = LimitBook(defaults=self.defaults)
        async with self._db.transaction() as tx:
            async for limit in repository.read_all(tx):
                book.add(limit)
        self._book = book

    async def acquire(self, payer: Payer, demand: Callable[[bool], Demand]) -> Lease | None:
        """Count a call in all its limits at once, and return its place there; None for a call under no limit.

        *demand* says what the call asks for, told whether any limit counts tokens. Raises RateLimitExceeded, and
        then the call is counted nowhere; or Unavailable while Redis is away, if that is configured.
        """
        charges = [charge for charge in self.charges(payer, demand) if charge.cost > 0]
        return await self._acquire(charges) if charges else None

    def charges(self, payer: Payer, demand: Callable[[bool], Demand]) -> list[Charge]:
        """Return how much a call would count in each of its limits; *demand* is as for `acquire`."""
        applied = self._book.find(payer)
        if not applied:
            return []
        wanted = demand(not TOKENS.isdisjoint([each.limit.counts for each in applied]))
        return charges_of(wanted, applied, self._settings.output_tokens_default)

    def adjust(self, lease: Lease | None, used: Amounts) -> None:
        """End the place of a call that was made, and count what it has *used* instead of what it asked for."""
        if lease is None or lease.is_ended:
            return
        lease.is_ended = True
        self._open.remove(lease)
        corrections = lease.corrections(used)
        if lease.is_local:
            self._share.correct(lease, corrections)
        if any(corrections) or lease.concurrent_keys():
            self._store.end(lease, corrections)

    def release(self, lease: Lease | None) -> None:
        """End the place of a call that was not made: it is counted nowhere any more."""
        self.adjust(lease, NOTHING)

    async def look(self, charges: Sequence[Charge]) -> Verdict:
        """Return what the limits, or while Redis is away this process, would say of *charges*; nothing is counted."""
        if not charges:
            return Verdict((), 0)
        try:
            return await self._store.look(charges)
        except RedisUnavailable:
            return self._by_share(charges, only_looks=True)

    async def count_unauthenticated(self, address: str | None) -> None:
        """Count a call from *address* that was not authenticated; raises RateLimitExceeded after too many of them."""
        if address is not None and (applied := self.of_scope("address", address)):
            await self._acquire([Charge(limit, key, 1) for limit, key in applied])

    def of(self, payer: Payer) -> tuple[Applied, ...]:
        """Return the limits that calls of *payer* count in, for some model at least."""
        return tuple(self._book.of(payer))

    def of_scope(self, scope: Scope, scope_id: str | None) -> tuple[Applied, ...]:
        """Return the limits of one project, user, key, address ..., or of the organization."""
        return tuple(self._book.of_scope(scope, scope_id))

    async def _acquire(self, charges: Sequence[Charge]) -> Lease:
        lease_id = f"{self._lease_name}_{next(self._lease_numbers)}"
        asked = self._store.acquire(lease_id, charges)
        is_local = False
        try:
            verdict = await asked
        except RedisUnavailable:
            if self._settings.on_redis_loss == "refuse":
                raise Unavailable("Limits cannot be checked right now; nothing was charged.") from None
            verdict, is_local = self._by_share(charges), True
        except asyncio.CancelledError:  # the caller has left, perhaps at the very moment at which the answer came
            if not asked.cancelled() and asked.exception() is None and asked.result().refused is None:
                self.release(Lease.of(lease_id, charges, asked.result()))
            raise
        self._count_refusals(charges, verdict)
        if verdict.refused is not None:
            raise rate_limited(charges, verdict.standings, verdict.refused)
        lease = Lease.of(lease_id, charges, verdict, is_local=is_local)
        self._open.add(lease)
        return lease

    def _by_share(self, charges: Sequence[Charge], *, only_looks: bool = False) -> Verdict:
        now_ms = int(monotonic_seconds() * 1_000)
        return self._share.acquire(charges, self._store.processes, now_ms, only_looks=only_looks)

    def _count_refusals(self, charges: Sequence[Charge], verdict: Verdict) -> None:
        if verdict.refused is not None:
            self._metrics.limit_refused(charges[verdict.refused.by].limit.counts, "enforcing")
        if verdict.is_over:
            for charge, standing in zip(charges, verdict.standings, strict=True):
                if standing.is_over:
                    self._metrics.limit_refused(charge.limit.counts, "shadow")
