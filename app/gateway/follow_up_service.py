"""Follows responses that are made in the background until the upstream says what they used, and settles them then.

Their reservations stay open meanwhile. What a process that stops had not settled is charged at its ceiling by others.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import structlog

from app.core.clock import monotonic_seconds
from app.errors import WeirError
from app.gateway.attempt import Attempt
from app.gateway.body import json_object
from app.gateway.relay import bounded_text
from app.gateway.responses_usage import PENDING, output_tokens, responses_usage, stored_objects, tools_usage
from app.gateway.settlement import Settlement
from app.gateway_settings import Gateway as GatewaySettings
from app.upstreams.failure import UpstreamFailed
from app.upstreams.service import UpstreamService
from app.version import VERSION

_log: Final = structlog.get_logger()
_PAUSE_SECONDS_MIN: Final = 0.5
_PAUSE_SECONDS_MAX: Final = 30.0
_PAUSE_GROWTH: Final = 1.5
_AT_ONCE_MAX: Final = 8
_FOLLOWED_MAX: Final = 10_000
_TIMEOUT_SECONDS: Final = 30.0
_SECONDS_PER_HOUR: Final = 3_600
_HEADERS: Final = ((b"user-agent", f"weir/{VERSION}".encode()),)
_GONE: Final[dict[str, Any]] = {}


class FollowUps:
    """Asks upstreams about the responses that they work on."""

    def __init__(self, upstreams: UpstreamService, settlement: Settlement, settings: GatewaySettings) -> None:
        self._upstreams = upstreams
        self._settlement = settlement
        self._settings = settings
        self._asking = asyncio.Semaphore(_AT_ONCE_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        settlement.postpone_with(self.follow)

    def follow(self, attempt: Attempt, response_id: str) -> None:
        """Settle *attempt* when the response is done: by what it used, or at its ceiling if that stays unknown."""
        if len(self._tasks) >= _FOLLOWED_MAX:
            self._settlement.charge_ceiling(attempt, HTTPStatus.OK)
            return
        task = asyncio.create_task(self._follow(attempt, response_id), name="follow-up")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop asking."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, attempt: Attempt, response_id: str) -> None:
        started_seconds = monotonic_seconds()
        pause_seconds = _PAUSE_SECONDS_MIN
        while monotonic_seconds() - started_seconds < self._settings.background_hours_max * _SECONDS_PER_HOUR:
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(_PAUSE_GROWTH * pause_seconds, _PAUSE_SECONDS_MAX)
            response = await self._ask(attempt, response_id)
            if response is _GONE:
                break
            if response is not None and response.get("status") not in PENDING:
                await self._settlement.keep(attempt, stored_objects(response, stores=True))
                attempt.upstream_seconds += monotonic_seconds() - started_seconds
                self._settle(attempt, response)
                return
        _log.warning("background_response_lost", request_id=attempt.context.request_id, response_id=response_id)
        attempt.upstream_seconds += monotonic_seconds() - started_seconds
        self._settlement.charge_ceiling(attempt, HTTPStatus.OK)

    def _settle(self, attempt: Attempt, response: dict[str, Any]) -> None:
        attempt.answered_model = bounded_text(response.get("model"))
        attempt.service_tier = bounded_text(response.get("service_tier"))
        usage = responses_usage(response, attempt.request.tools)
        if usage is not None:
            self._settlement.settle(attempt, "completed", usage, HTTPStatus.OK)
        else:
            apart = tools_usage(response, attempt.request.tools)
            self._settlement.estimate(attempt, "no_usage", output_tokens(response), HTTPStatus.OK, apart=apart)

    async def _ask(self, attempt: Attempt, response_id: str) -> dict[str, Any] | None:
        """Return the response as it is now, `_GONE` when it is not there any more, None when that cannot be known."""
        path = f"/responses/{quote(response_id, safe='')}"
        upstream = self._upstreams.current(attempt.target.upstream)
        try:
            async with self._asking, asyncio.timeout(_TIMEOUT_SECONDS):
                with await self._upstreams.send(
                    upstream, "GET", path, headers=_HEADERS, context=attempt.context
                ) as answer:
                    if answer.status == HTTPStatus.NOT_FOUND:
                        return _GONE
                    body = await answer.read_all()
        except (UpstreamFailed, TimeoutError, WeirError):
            return None
        return json_object(body) if answer.status == HTTPStatus.OK else None
