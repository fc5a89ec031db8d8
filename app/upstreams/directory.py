"""The upstreams that calls may go to now: those from the environment first, then those that are managed. Pure."""

from collections.abc import Iterable

from app.upstreams.routing import Upstream


class Directory:
    """One snapshot for all: whoever needs several upstreams at once reads `upstreams` once."""

    def __init__(self, environment: Iterable[Upstream] = ()) -> None:
        self._environment = tuple(environment)
        self.upstreams: tuple[Upstream, ...] = self._environment

    def replace(self, managed: Iterable[Upstream]) -> None:
        """Have *managed*, in this order, behind the environment's from now on."""
        self.upstreams = (*self._environment, *managed)
