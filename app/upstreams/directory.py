"""The upstreams that calls may go to now: those from the environment first, then those that are managed. Pure."""

from collections.abc import Iterable
from typing import Final

from app.upstreams.routing import Plan, Upstream, plan

_REMEMBERED_MAX: Final = 10_000


class Directory:
    """One snapshot for all: whoever needs several upstreams at once reads `upstreams` once."""

    def __init__(self, environment: Iterable[Upstream] = ()) -> None:
        self._environment = tuple(environment)
        self.upstreams: tuple[Upstream, ...] = self._environment
        self._plans: dict[tuple[str, ...], Plan | None] = {}

    def replace(self, managed: Iterable[Upstream]) -> None:
        """Have *managed*, in this order, behind the environment's from now on."""
        self.set((*self._environment, *managed))

    def set(self, upstreams: tuple[Upstream, ...]) -> None:
        """Have exactly *upstreams* from now on."""
        self.upstreams = upstreams
        self._plans = {}

    def plan(self, models: tuple[str, ...]) -> Plan | None:
        """Return where a call for the first of *models* may go, and if need be for the next; None for nowhere."""
        if models not in self._plans:
            if len(self._plans) >= _REMEMBERED_MAX:  # models are names that callers choose
                self._plans.clear()
            self._plans[models] = plan(self.upstreams, models)
        return self._plans[models]
