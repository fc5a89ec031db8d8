"""Asks upstreams by itself whether they are there, so that no caller's call is the first to find out that they are not.

An upstream that answers anything at all is there; what it answers is not read.
"""

import asyncio
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from multidict import CIMultiDict
from yarl import URL

from app.core.clock import monotonic_seconds
from app.upstreams.client import UpstreamClient
from app.upstreams.failure import UpstreamFailed
from app.upstreams.health import Health
from app.upstreams.providers.registry import address, credential_headers
from app.upstreams.routing import Timeouts, Upstream
from app.upstreams.target_health import TargetHealth
from app.version import VERSION

_LOOK_SECONDS: Final = 0.25
_PAUSE_SECONDS: Final = 2.0
"""Between probes of the same upstream."""


class ProbeService:
    """Looks after upstreams that nobody answers at, or that are silent."""

    def __init__(self, client: UpstreamClient, health: Health, timeout_seconds: float) -> None:
        self._client = client
        self._health = health
        self._timeouts = Timeouts(timeout_seconds, timeout_seconds, timeout_seconds, timeout_seconds)
        self._last_at: dict[str, float] = {}

    async def keep_probing(self) -> None:
        """Probe whatever needs it until cancelled."""
        async with asyncio.TaskGroup() as probes:
            while True:
                for targets in self.due(monotonic_seconds()):
                    probes.create_task(self.probe(targets))
                await asyncio.sleep(_LOOK_SECONDS)

    def due(self, now: float) -> list[Sequence[TargetHealth]]:
        """Return what is to be probed now, by upstream; it is not due again for a while."""
        self._last_at = {name: at for name, at in self._last_at.items() if now - at < _PAUSE_SECONDS}
        wanting = [known for known in self._health.targets() if known.breaker.wants_probe(now) or known.is_suspect(now)]
        wanting = sorted((known for known in wanting if known.upstream.name not in self._last_at), key=_name)
        found: list[Sequence[TargetHealth]] = [list(group) for _, group in groupby(wanting, key=_name)]
        self._last_at.update((_name(targets[0]), now) for targets in found)
        return found

    async def probe(self, targets: Sequence[TargetHealth]) -> None:
        """Ask the upstream of *targets*, all of the same one, for its models, and note whether it answers."""
        is_answered = await self._is_answered(targets[0].upstream)
        if is_answered is not None:
            now = monotonic_seconds()
            for target in targets:
                target.probed(now, is_answered=is_answered)

    async def _is_answered(self, upstream: Upstream) -> bool | None:
        """Tell whether there was an answer; None when nobody could be asked."""
        headers = CIMultiDict(credential_headers(upstream))
        headers.update({"accept": "application/json", "accept-encoding": "identity", "user-agent": f"weir/{VERSION}"})
        url = URL(address(upstream, "/models"), encoded=True)
        try:
            (await self._client.send("GET", url, headers, None, self._timeouts)).close()
        except UpstreamFailed as failed:
            return None if failed.failure == "no_room" else failed.failure == "nonsense"
        return True


def _name(target: TargetHealth) -> str:
    return target.upstream.name
