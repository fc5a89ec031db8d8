"""Ends an attempt at an upstream: the one ledger entry that says how, and what it counts in its limits."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import add, attrgetter
from typing import Final

from app.budgets.service import BudgetService
from app.core.clock import Clock, monotonic_seconds
from app.core.money import Nano
from app.gateway.attempt import Attempt
from app.gateway.custody_service import Custody
from app.gateway.limit_demand import used
from app.gateway.operations.operation import Answered
from app.gateway.stream import StoredObject
from app.ledger.entries import Ending, Entry, Outcome
from app.limits.service import LimitService
from app.prices.service import Charge, PriceService
from app.prices.usage import NO_USAGE, Usage

_NOTHING: Final = Nano(0)
_FREE: Final = Charge(_NOTHING, None, ())
_WHOLE: Final = ("completed", "no_usage")
_OTHERS: Final = tuple(name for name in Usage._fields if name not in Entry._fields)
_counts_of_others: Final = attrgetter(*_OTHERS)
ANSWER_NOT_KEPT: Final = "answer_not_kept"
"""Flag of an entry whose answer was too long to be kept for its idempotency key, which is free again."""
AT_CEILING: Final = "at_ceiling"
"""Flag of an entry that costs all that was reserved: what the call used could not be found out."""
OVERRUN: Final = "overrun"
"""Flag of an entry that costs more than was reserved: the upstream did not keep to the cap it was given."""


Postpone = Callable[[Attempt, str], None]
"""Takes over an attempt whose upstream goes on with the response of this id."""


class Settlement:
    """Ends attempts: each exactly once, in exactly one of four ways."""

    def __init__(
        self, prices: PriceService, budgets: BudgetService, limits: LimitService, custody: Custody, clock: Clock
    ) -> None:
        self._prices = prices
        self._budgets = budgets
        self._limits = limits
        self.custody = custody
        """Knows whose is what upstreams keep."""
        self._clock = clock
        self._postpone: Postpone | None = None

    def settle(self, attempt: Attempt, outcome: Outcome, usage: Usage, status: int) -> Nano:
        """End *attempt* with the usage that the upstream reported; return what the call costs so far.

        Of sound that it tells in tokens, where the price is for its length, or the other way round, what is paid for is
        estimated. *status*, here and below, is the HTTP status that the caller gets.
        """
        usage = _with_new_containers(attempt, usage)
        if attempt.request.bound.units.audio_seconds and any(usage) and not self._charge(attempt, usage).cost:
            likely = self._estimated(attempt, attempt.request.output_tokens_expected or 0)
            if self._charge(attempt, likely, is_estimate=True).cost:
                outcome = "no_usage" if outcome == "completed" else outcome
                return self._end(attempt, "estimated", outcome, Usage._make(map(max, usage, likely)), status)
        return self._end(attempt, "settled", outcome, usage, status)

    def estimate(
        self, attempt: Attempt, outcome: Outcome, output_tokens: int, status: int, *, apart: Usage = NO_USAGE
    ) -> Nano:
        """End *attempt* without a report, by what its request uses and *output_tokens*, which Weir counted.

        *apart* is what was found that is paid for apart; where it knows what went in, it is a report of a part of the
        answer. Returns what it costs.
        """
        return self._end(attempt, "estimated", outcome, self._estimated(attempt, output_tokens, apart), status)

    def measure(self, attempt: Attempt, answered: Answered, status: int) -> Nano:
        """End *attempt* after a whole answer that does not say what it used; return what it costs.

        What is only estimated of it makes it an estimate, unless that part of it is for free.
        """
        known = answered.usage or NO_USAGE
        likely = self._estimated(attempt, answered.output_tokens)
        if self._charge(attempt, likely, is_estimate=True).cost > self._charge(attempt, known).cost:
            return self._end(attempt, "estimated", "no_usage", likely, status)
        return self.settle(attempt, "completed", known, status)

    def charge_ceiling(self, attempt: Attempt, status: int) -> None:
        """End *attempt*, of which nobody can say any more what it used, at the most that it can cost."""
        usage = attempt.operation.estimated(attempt.request)
        self._end(attempt, "estimated", "no_usage", usage, status, at_ceiling=True)

    async def keep(self, attempt: Attempt, stored: Sequence[StoredObject]) -> None:
        """Have it written whose *stored* is before the caller of *attempt* sees its ids.

        Called before *attempt* ends, as it also finds out which of its containers are to be paid for.
        """
        project_id, upstream_name = attempt.project_id, attempt.target.upstream.name
        known = attempt.request.tools.containers | attempt.containers
        containers = {each.id for each in stored if each.kind == "container"} - known
        if containers:
            attempt.containers |= containers
            attempt.containers_paid |= await self.custody.claim_sessions(project_id, upstream_name, containers)
        await self.custody.keep(project_id, upstream_name, stored)

    def postpone_with(self, postpone: Postpone) -> None:
        """Let *postpone* take over attempts with which their upstreams go on after their answers."""
        self._postpone = postpone

    def postpone(self, attempt: Attempt, stored: Sequence[StoredObject]) -> bool:
        """Leave *attempt* open until its upstream says what it used, if it goes on with one of *stored*; tell so."""
        response_id = next((each.id for each in stored if each.kind == "response"), None)
        if not attempt.request.is_background or response_id is None or self._postpone is None:
            return False
        if attempt.ticket is not None:
            attempt.ticket.end()
        self._postpone(attempt, response_id)
        return True

    def release(self, attempt: Attempt, status: int) -> None:
        """End *attempt* for nothing: the upstream refused it."""
        self._end(attempt, "released", "upstream_refused", NO_USAGE, status)

    def cancel(self, attempt: Attempt) -> None:
        """End *attempt* without an entry: nothing was sent."""
        self._mark(attempt)
        self._limits.adjust(attempt.lease, used(NO_USAGE))
        attempt.settled = self._budgets.release(attempt.id)

    def _mark(self, attempt: Attempt) -> None:
        if attempt.is_settled:
            raise RuntimeError(f"an attempt of request {attempt.context.request_id} ended twice")
        attempt.is_settled = True
        if attempt.ticket is not None:
            attempt.ticket.end()

    def _end(
        self, attempt: Attempt, ending: Ending, outcome: Outcome, usage: Usage, status: int, *, at_ceiling: bool = False
    ) -> Nano:
        self._mark(attempt)
        charge = self._charge_of(attempt, ending, usage, at_ceiling=at_ceiling)
        now = self._clock()
        total_seconds = monotonic_seconds() - attempt.context.started_seconds - attempt.before_seconds
        attempt.settled = self._budgets.settle(
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
            has_key=attempt.record is not None,
        )
        self._limits.adjust(attempt.lease, used(usage, None if ending == "released" else attempt.request))
        _note(attempt, outcome, usage, charge.cost)
        return attempt.context.cost_nano or _NOTHING

    def _estimated(self, attempt: Attempt, output_tokens: int, apart: Usage = NO_USAGE) -> Usage:
        usage = apart
        if not apart.input_tokens:
            usage = Usage._make(map(add, attempt.operation.estimated(attempt.request), apart))
        output_tokens += usage.output_tokens
        drawn = output_tokens if attempt.request.bound.draws else 0
        usage = usage._replace(output_tokens=output_tokens, output_image_tokens=drawn)
        if not usage.audio_seconds:
            return usage
        # Sound is billed by its tokens or by its length, as its price says; in doubt the dearer counts, never both.
        ways = usage._replace(audio_seconds=0), Usage(audio_seconds=usage.audio_seconds)
        return max(ways, key=lambda way: self._charge(attempt, way, is_estimate=True).cost)

    def _charge_of(self, attempt: Attempt, ending: Ending, usage: Usage, *, at_ceiling: bool) -> Charge:
        is_estimate = ending == "estimated"
        charge = _FREE if ending == "released" else self._charge(attempt, usage, is_estimate=is_estimate)
        if not attempt.ceiling_nano:  # nobody could say what the call can cost at most
            return charge
        if at_ceiling:
            return replace(charge, cost=attempt.ceiling_nano, flags=(*charge.flags, AT_CEILING))
        if is_estimate and charge.price is not None:  # no more than the call can have cost
            return replace(charge, cost=min(charge.cost, attempt.ceiling_nano))
        return charge

    def _charge(self, attempt: Attempt, usage: Usage, *, is_estimate: bool = False) -> Charge:
        if attempt.operation.is_free:
            return _FREE
        target = attempt.target
        models = (attempt.answered_model or target.model, target.model, target.sent_model)
        # Of an answer that said nothing of it, the tier is what was asked for.
        tier = attempt.service_tier or (attempt.request.service_tier if is_estimate else None)
        at = attempt.priced_at or attempt.started_at
        return self._prices.charge(models, tier, usage, at, attempt.book, attempt.request.variants)


def _with_new_containers(attempt: Attempt, usage: Usage) -> Usage:
    """Return *usage* with the sessions of those containers alone that nobody has paid for; each costs the same."""
    if not attempt.containers_paid:
        return usage
    count = len(attempt.containers)
    new = count - len(attempt.containers_paid)
    return usage._replace(code_interpreter_sessions=-(-usage.code_interpreter_sessions * new // count))


def _flags(attempt: Attempt, charge: Charge) -> tuple[str, ...]:
    flags = charge.flags
    if charge.cost > attempt.ceiling_nano > 0:
        flags = (*flags, OVERRUN)
    if attempt.record is not None and attempt.record.is_too_long:
        flags = (*flags, ANSWER_NOT_KEPT)
    return flags


def _other_units(usage: Usage) -> dict[str, int] | None:
    counts = _counts_of_others(usage)
    return {name: count for name, count in zip(_OTHERS, counts, strict=True) if count} if any(counts) else None


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)


def _note(attempt: Attempt, outcome: Outcome, usage: Usage, cost: Nano) -> None:
    """Tell the access log and the metrics."""
    context = attempt.context
    context.outcome = outcome
    context.input_tokens = usage.input_tokens
    context.cached_input_tokens = usage.cached_input_tokens
    context.output_tokens = usage.output_tokens
    context.cost_nano = Nano((context.cost_nano or 0) + cost)
    context.upstream_seconds = attempt.upstream_seconds
