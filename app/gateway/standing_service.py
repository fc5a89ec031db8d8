"""Holds the most that something can cost which an upstream may begin by itself, so that it never begins unpaid."""

from typing import Final

from app.gateway.attempt import Attempt
from app.gateway.operations.operation import Charged
from app.gateway.operations.realtime import RealtimeRequest
from app.gateway.socket_account_service import SocketAccount
from app.money_errors import BudgetSpent
from app.prices.service import Bound
from app.upstreams.routing import Target

_TOKENS_LEAST: Final = 4_096
_FLAGS: Final = ("fills_context", "hears", "sees", "speaks")


class Standing:
    """The reservation for the next of its kind. It grows with what it must cover, by more than is needed now."""

    def __init__(self, account: SocketAccount, operation: Charged) -> None:
        self._account = account
        self._operation = operation
        self._attempt: Attempt | None = None

    async def ensure(self, target: Target, needed: Bound) -> Attempt:
        """Return a reservation that covers *needed*; raises what `SocketAccount.reserve` raises.

        The one that it replaces is given back afterwards: in between, what begins is covered by either.
        """
        held = self._attempt
        if held is not None and held.target.model == target.model and _covers(held.request.bound, needed):
            return held
        try:
            fresh = await self._reserve(target, _more(needed))
        except BudgetSpent:
            fresh = await self._reserve(target, needed)
        self.release()
        self._attempt = fresh
        return fresh

    def take(self) -> Attempt | None:
        """Return the reservation for what begins now, None where there is none; the next one needs another."""
        attempt, self._attempt = self._attempt, None
        return attempt

    def release(self) -> None:
        """Give back what is held."""
        if (attempt := self.take()) is not None:
            self._account.cancel(attempt)

    async def _reserve(self, target: Target, bound: Bound) -> Attempt:
        is_capped = bound.output_tokens is not None
        request = RealtimeRequest(target.model, bound, b"", streamed=True, is_capped=is_capped)
        return await self._account.reserve(self._operation, request, target)


def _more(bound: Bound) -> Bound:
    """Return twice as much, so that not every message needs another reservation."""
    units = bound.units._replace(audio_seconds=2 * bound.units.audio_seconds)
    return bound._replace(input_tokens=max(_TOKENS_LEAST, 2 * bound.input_tokens), units=units)


def _covers(held: Bound, needed: Bound) -> bool:
    return (
        needed.input_tokens <= held.input_tokens
        and needed.units.audio_seconds <= held.units.audio_seconds
        and all(getattr(held, flag) or not getattr(needed, flag) for flag in _FLAGS)
    )
