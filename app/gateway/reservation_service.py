"""Reserves the most that an attempt can cost, and caps its output where a budget relies on that.

The cheap bound, a token for each byte, comes first; the input is counted exactly only for a call that it keeps out.
"""

from typing import Final

from app.budgets.admission import Demand, Grant, Shortfall
from app.budgets.budget import Payer
from app.budgets.reservation import Reservation
from app.budgets.service import BudgetService
from app.core.money import Nano
from app.gateway.attempt import Attempt, Record
from app.gateway.explanation import Explanation
from app.gateway.token_count_service import TokenCounts
from app.idempotency.key import KeyClaim, StoredAnswer
from app.idempotency.service import IdempotencyService
from app.money_errors import BudgetSpent, IdempotencyKeyInUse
from app.prices.service import Bound, Ceiling, Ceilings, PriceService
from app.setting_groups import Budgets as BudgetsSettings

_NOTHING: Final = Nano(0)


class ReservationDesk:
    """Makes the reservation of each attempt."""

    def __init__(
        self,
        prices: PriceService,
        budgets: BudgetService,
        idempotency: IdempotencyService,
        counts: TokenCounts,
        settings: BudgetsSettings,
    ) -> None:
        self._prices = prices
        self._budgets = budgets
        self._idempotency = idempotency
        self._counts = counts
        self._settings = settings

    def require_writable(self) -> None:
        """Raise Unavailable when a call made now could not be written: it must not be sent upstream, nor answered."""
        self._budgets.require_writable()

    async def find_kept(self, claim: KeyClaim) -> tuple[str, StoredAnswer] | Record:
        """Return the request id and the answer that are kept for an idempotency key; else what claims and keeps it.

        Raises IdempotencyKeyReused, IdempotencyKeyInUse or DatabaseUnavailable.
        """
        kept = await self._idempotency.find(claim)
        return kept or Record(claim, self._idempotency.answer_size_bytes_max)

    async def make(self, attempt: Attempt) -> None:
        """Commit the reservation of *attempt* and note in it what is held, and the body with its cap.

        Raises BudgetSpent, BudgetReserved, ModelNotPriced, IdempotencyKeyInUse or DatabaseUnavailable; then it must
        not be sent.
        """
        attempt.book, attempt.priced_at = self._prices.book, attempt.started_at
        ceilings = self._ceilings(attempt, attempt.request.bound)
        try:
            grant, demand = await self._reserve(attempt, ceilings)
        except BudgetSpent:
            counted = await self._exact_bound(attempt)
            if counted is None:
                raise
            ceilings = self._ceilings(attempt, counted)
            grant, demand = await self._reserve(attempt, ceilings)
        attempt.ceiling_nano = grant.ceiling_nano
        attempt.budget_window_ids = grant.window_ids
        if grant.must_be_capped and not attempt.request.is_capped:
            try:
                await self._cap(attempt, ceilings, demand)
            except BaseException:
                self._budgets.release(attempt.id)
                raise

    async def explain(self, attempt: Attempt) -> Explanation:
        """Return what `make` would do with *attempt* now; nothing is held and nothing is written for it."""
        ceilings = self._ceilings(attempt, attempt.request.bound)
        ceiling, demand = self._price(attempt, ceilings)
        answer, windows = await self._budgets.preview(_payer(attempt), demand)
        counted = None
        if isinstance(answer, Shortfall):
            counted = await self._exact_bound(attempt)
        if counted is not None:
            ceilings = self._ceilings(attempt, counted)
            ceiling, demand = self._price(attempt, ceilings)
            answer, windows = await self._budgets.preview(_payer(attempt), demand)
        cap = None
        if isinstance(answer, Grant) and answer.must_be_capped and not attempt.request.is_capped:
            attempt.ceiling_nano = answer.ceiling_nano
            await self._cap(attempt, ceilings, demand)
            cap = attempt.output_tokens_cap
        return Explanation(attempt.target, ceiling, demand, answer, windows, cap, counted is not None)

    async def _reserve(self, attempt: Attempt, ceilings: Ceilings) -> tuple[Grant, Demand | None]:
        """Return the grant, and what it was asked for."""
        ceiling, demand = self._price(attempt, ceilings)
        reservation = Reservation(
            id=attempt.id,
            process_id=self._budgets.process_id,
            request_id=attempt.context.request_id,
            project_id=attempt.project_id,
            user_id=attempt.user_id,
            key_id=attempt.key_id,
            operation=attempt.operation.name,
            upstream=attempt.target.upstream.name,
            model=attempt.target.model,
            streamed=attempt.request.streamed,
            ceiling_nano=ceiling.nano,
            price_id=ceiling.price_id,
            started_at=attempt.started_at,
        )
        claim = None if attempt.record is None else attempt.record.claim
        grant = await self._budgets.reserve(reservation, demand, claim)
        if grant is None:
            raise IdempotencyKeyInUse
        return grant, demand

    def _price(self, attempt: Attempt, ceilings: Ceilings) -> tuple[Ceiling, Demand | None]:
        """Return the ceiling of an attempt and what it asks its budgets for, None where its model has no price."""
        if attempt.operation.is_free:
            return Ceiling(_NOTHING, None), Demand(_NOTHING, _NOTHING, _NOTHING)
        ceiling = ceilings.most()
        return ceiling, None if ceiling.price_id is None else self._demand(attempt, ceilings, ceiling.nano)

    def _demand(self, attempt: Attempt, ceilings: Ceilings, ceiling_nano: Nano) -> Demand:
        if attempt.request.is_capped:
            return Demand(ceiling_nano, ceiling_nano, ceiling_nano)
        # A model may have a maximum below these caps.
        capped = min(ceilings.with_maximum(self._settings.output_tokens_default), ceiling_nano)
        least = min(ceilings.with_maximum(self._settings.output_tokens_min), capped)
        return Demand(ceiling_nano, capped, least)

    async def _cap(self, attempt: Attempt, ceilings: Ceilings, demand: Demand | None) -> None:
        """Set the maximum that the amount held pays for; of little money an exact count makes more."""
        if demand is not None and attempt.ceiling_nano < demand.capped_nano:
            counted = await self._exact_bound(attempt)
            ceilings = ceilings if counted is None else self._ceilings(attempt, counted)
        within = ceilings.output_tokens_within(attempt.ceiling_nano)
        attempt.output_tokens_cap = min(within, self._settings.output_tokens_default)
        attempt.body = attempt.operation.capped(attempt.body, attempt.output_tokens_cap)

    async def _exact_bound(self, attempt: Attempt) -> Bound | None:
        """Return the bound by a count of tokens, in the words of the model that is sent to; None where it has none."""
        return await self._counts.exact_bound(attempt.operation, attempt.request, attempt.target.sent_model)

    def _ceilings(self, attempt: Attempt, bound: Bound) -> Ceilings:
        target, service_tier = attempt.target, attempt.request.service_tier
        at = attempt.priced_at or attempt.started_at
        return self._prices.ceilings(target.model, service_tier, bound, at, target.sent_model, attempt.book)


def _payer(attempt: Attempt) -> Payer:
    return Payer(attempt.project_id, attempt.user_id, attempt.key_id, attempt.target.model)
