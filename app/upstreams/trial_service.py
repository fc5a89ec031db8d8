"""Tries an upstream before calls depend on it: asks it for its models, with its credential, within a bounded time.

Nothing of what it answers is shown, as error pages like to quote the credential.
"""

import asyncio
from typing import Final

import orjson
from multidict import CIMultiDict
from yarl import URL

from app.core.clock import monotonic_seconds
from app.upstreams.client import UpstreamClient
from app.upstreams.failure import UpstreamFailed
from app.upstreams.providers.registry import address, credential_headers
from app.upstreams.routing import Upstream
from app.upstreams.trial import Trial, TrialFailure
from app.version import VERSION

_TIMEOUT_SECONDS: Final = 10.0
_CREDENTIAL_STATUSES: Final = frozenset({401, 403})
_OK: Final = 200
_FAILED: Final[dict[str, tuple[TrialFailure, str]]] = {
    "no_room": ("unreachable", "it was not asked"),
    "not_sent": ("unreachable", "it cannot be reached"),
    "timed_out": ("timed_out", "no answer came"),
}


class TrialService:
    """Asks upstreams what they have."""

    def __init__(self, client: UpstreamClient) -> None:
        self._client = client

    async def try_out(self, upstream: Upstream) -> Trial:
        """Return how *upstream* answers now."""
        began_seconds = monotonic_seconds()
        url = address(upstream, "/models")
        failure: TrialFailure | None = None
        names: list[str] | None = None
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                status, names = await self._ask(upstream, url)
            if status in _CREDENTIAL_STATUSES:
                failure, message = "credential_refused", f"it answered {status}: it does not accept this credential"
            elif status != _OK or names is None:
                what = "with something else than a list of models" if status == _OK else str(status)
                failure, message = "unexpected_answer", f"it answered {what}"
            else:
                message = f"it lists {len(names)} models"
        except TimeoutError:
            failure, message = "timed_out", f"it did not answer within {_TIMEOUT_SECONDS:g} seconds"
        except UpstreamFailed as error:
            failure, what = _FAILED.get(error.failure, ("unexpected_answer", "no whole answer came"))
            message = f"{what} ({error.reason})"
        duration_ms = int((monotonic_seconds() - began_seconds) * 1_000)
        served = tuple(name for name in names or () if upstream.serves(name))
        return Trial(failure, f"GET {url}: {message}.", duration_ms, served)

    async def _ask(self, upstream: Upstream, url: str) -> tuple[int, list[str] | None]:
        """Return the answer's status, and the names of the models if it is a list of such."""
        headers = CIMultiDict(credential_headers(upstream))
        headers.update({"accept": "application/json", "accept-encoding": "identity", "user-agent": f"weir/{VERSION}"})
        with await self._client.send("GET", URL(url, encoded=True), headers, None, upstream.timeouts) as answer:
            if answer.status != _OK:
                return answer.status, None
            body = await answer.read_all()
        try:
            data = orjson.loads(body)["data"]
            return _OK, [model["id"] for model in data if isinstance(model["id"], str)]
        except (ValueError, TypeError, KeyError):
            return _OK, None
