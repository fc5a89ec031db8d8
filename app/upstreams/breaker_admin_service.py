"""Breakers for those who operate them: how they stand, and holding one open or closed until it is taken back.

A decision is a row in PostgreSQL; every process keeps to it within a second.
"""

from typing import Final

from app.audit.service import record as audit
from app.core.clock import Clock, monotonic_seconds, utc_now
from app.core.db import Database
from app.core.snapshot import Snapshot
from app.errors import InvalidRequest, NotFound
from app.upstreams import breaker_repository as repository
from app.upstreams.breaker_service import BreakerService
from app.upstreams.breaker_view import BreakerView, Mode, view
from app.upstreams.directory import Directory
from app.upstreams.routing import Target, Upstream

BREAKERS_CHANGED: Final = repository.CHANNEL
"""The channel on which every process hears of decisions; see `BreakerAdminService.expire`."""
_FORCED_MAX: Final = 1_000


class BreakerAdminService(Snapshot):
    """Every method that changes something raises DatabaseUnavailable when PostgreSQL is away or too busy."""

    def __init__(self, db: Database, breakers: BreakerService, directory: Directory, clock: Clock = utc_now) -> None:
        super().__init__()
        self._db = db
        self._breakers = breakers
        self._directory = directory
        self._clock = clock

    def list_breakers(self, upstream: str | None = None) -> list[BreakerView]:
        """Return every breaker that this process knows, or those of the upstream with this name or id.

        Raises NotFound when there is no such upstream.
        """
        name = None if upstream is None else self._get(upstream).name
        now, moment = monotonic_seconds(), self._clock()
        known = [known for known in self._breakers.health.targets() if name is None or known.upstream.name == name]
        return [view(each, now, moment) for each in sorted(known, key=lambda each: each.key)]

    async def force(self, upstream: str, model: str, mode: Mode) -> BreakerView:
        """Hold a breaker open or closed, or let it be by itself again; raises NotFound or InvalidRequest."""
        found = self._get(upstream)
        if not found.serves(model):
            raise NotFound(f"The upstream '{found.name}' does not serve this model.", param="model")
        async with self._db.transaction() as tx:
            await repository.stop_changes(tx)
            before = await repository.find_forced(tx, found.name, model) or "auto"
            if before != mode:
                if mode == "auto":
                    await repository.delete_forced(tx, found.name, model)
                elif before == "auto" and await repository.count_forced(tx) >= _FORCED_MAX:
                    raise InvalidRequest(
                        f"{_FORCED_MAX} breakers are held open or closed already: let one be first.", param="state"
                    )
                else:
                    await repository.set_forced(tx, found.name, model, mode)
                details = {"model": model, "changes_requested": {"state": mode}}
                await audit(tx, "upstream_breaker.updated", found.id or found.name, details=details)
        await self.load()
        target = self._breakers.health.of(Target(found, model), monotonic_seconds())
        return view(target, monotonic_seconds(), self._clock())

    async def _load(self) -> None:
        async with self._db.transaction() as tx:
            forced = await repository.list_forced(tx)
        self._breakers.force(forced)

    def _get(self, name_or_id: str) -> Upstream:
        for upstream in self._directory.upstreams:
            if name_or_id in (upstream.name, upstream.id):
                return upstream
        raise NotFound("There is no upstream with this name or id that calls go to.", param="upstream")
