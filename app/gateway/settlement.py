"""Ends an attempt at an upstream: the one ledger entry that says how, and what it counts in its limits."""

from typing import Final

from app.budgets.service import BudgetService
from app.core.clock import Clock, monotonic_seconds
from app.core.money import Nano
from app.gateway.attempt import Attempt
from app.gateway.limit_demand import used
from app.ledger.entries import Ending, Entry, Outcome
from app.limits.service import LimitService
from app.prices.service import Charge, PriceService
from app.prices.usage import Usage

_NO_USAGE: Final = Usage()
_NOTHING: Final = Nano(0)
_FREE: Final = Charge(_NOTHING, None, ())
_WHOLE: Final = ("completed", "no_usage")
_COLUMNS: Final = frozenset(Entry._fields)
ANSWER_NOT_KEPT: Final = "answer_not_kept"
"""Flag of an entry whose answer was too long to be kept for its idempotency key, which is free again."""
OVERRUN: Final = "overrun"
"""Flag of an entry that costs more than was reserved: the upstream did not keep to the cap it was given."""


class Settlement:
    """Ends attempts: each exactly once, in exactly one of four ways."""

    def __init__(self, prices: PriceService, budgets: BudgetService, limits: LimitService, clock: Clock) -> None:
        self._prices = prices
        self._budgets = budgets
        self._limits = limits
        self._clock = clock

    def settle(self, attempt: Attempt, outcome: Outcome, usage: Usage, status: int) -> Nano:
        """End *attempt* with the usage that the upstream reported; return what it costs.

        *status*, here and below, is the HTTP status that the caller gets.
        """
        return self._end(attempt, "settled", outcome, usage, status)

    def estimate(self, attempt: Attempt, outcome: Outcome, output_tokens: int, status: int) -> Nano:
        """End *attempt* without a report: what its request uses and *output_tokens*, counted by us. Return its cost."""
        usage = attempt.operation.estimated(attempt.request)
        usage = usage._replace(output_tokens=usage.output_tokens + output_tokens)
        return self._end(attempt, "estimated", outcome, usage, status)

    def release(self, attempt: Attempt, status: int) -> None:
        """End *attempt* for nothing: the upstream refused it."""
        self._end(attempt, "released", "upstream_refused", _NO_USAGE, status)

    def cancel(self, attempt: Attempt) -> None:
        """End *attempt* without an entry: nothing was sent."""
        self._mark(attempt)
        self._limits.adjust(attempt.lease, used(_NO_USAGE))
        self._budgets.release(attempt.id)

    def _mark(self, attempt: Attempt) -> None:
        if attempt.is_settled:
            raise RuntimeError(f"an attempt of request {attempt.context.request_id} ended twice")
        attempt.is_settled = True

    def _end(self, attempt: Attempt, ending: Ending, outcome: Outcome, usage: Usage, status: int) -> Nano:
        self._mark(attempt)
        charge = _FREE if ending == "released" else self._charge(attempt, usage)
        if ending == "estimated" and charge.price is not None:  # no more than the call can have cost
            charge = charge._replace(cost=min(charge.cost, attempt.ceiling_nano))
        now = self._clock()
        total_seconds = monotonic_seconds() - attempt.context.started_seconds
        self._budgets.settle(
            Entry(
                id=attempt.id,
                settled_at=now,
                request_id=attempt.context.request_id,
                project_id=attempt.project_id,
                user_id=attempt.user_id,
                key_id=attempt.key_id,
                operation=attempt.operation.name,
                upstream=attempt.target.upstream.name,
                upstream_request_id=attempt.upstream_request_id,
                model=attempt.target.model,
                answered_model=attempt.answered_model,
                service_tier=attempt.service_tier,
                streamed=attempt.request.streamed,
                status=status,
                ending=ending,
                outcome=outcome,
                input_tokens=usage.input_tokens,
                cached_input_tokens=usage.cached_input_tokens,
                cache_write_tokens=usage.cache_write_tokens,
                input_audio_tokens=usage.input_audio_tokens,
                output_tokens=usage.output_tokens,
                reasoning_tokens=usage.reasoning_tokens,
                output_audio_tokens=usage.output_audio_tokens,
                other_units=_other_units(usage),
                cost_nano=charge.cost,
                ceiling_nano=attempt.ceiling_nano,
                price_id=None if charge.price is None else charge.price.id,
                flags=_flags(attempt, charge),
                started_at=attempt.started_at,
                first_byte_us=None if attempt.first_byte_seconds is None else _us(attempt.first_byte_seconds),
                upstream_us=_us(attempt.upstream_seconds),
                gateway_us=_us(max(0.0, total_seconds - attempt.upstream_seconds)),
                budget_window_ids=attempt.budget_window_ids,
            ),
            attempt.record.answer() if attempt.record is not None and outcome in _WHOLE else None,
        )
        self._limits.adjust(attempt.lease, used(usage))
        _note(attempt, outcome, usage, charge.cost)
        return charge.cost

    def _charge(self, attempt: Attempt, usage: Usage) -> Charge:
        models = (attempt.answered_model, attempt.target.model) if attempt.answered_model else (attempt.target.model,)
        return self._prices.charge(models, attempt.service_tier, usage, attempt.started_at)


def _flags(attempt: Attempt, charge: Charge) -> tuple[str, ...]:
    flags = charge.flags
    if charge.cost > attempt.ceiling_nano:
        flags = (*flags, OVERRUN)
    if attempt.record is not None and attempt.record.is_too_long:
        flags = (*flags, ANSWER_NOT_KEPT)
    return flags


def _other_units(usage: Usage) -> dict[str, int] | None:
    return {name: count for name, count in usage._asdict().items() if count and name not in _COLUMNS} or None


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)


def _note(attempt: Attempt, outcome: Outcome, usage: Usage, cost: Nano) -> None:
    """Tell the access log and the metrics."""
    context = attempt.context
    context.outcome = outcome
    context.input_tokens = usage.input_tokens
    context.cached_input_tokens = usage.cached_input_tokens
    context.output_tokens = usage.output_tokens
    context.cost_nano = cost
    context.upstream_seconds = attempt.upstream_seconds
