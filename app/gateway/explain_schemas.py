"""What `POST /v1/gateway/explain` answers."""

from typing import Literal

from pydantic import ConfigDict, Field

from app.budgets.admission import Grant, Window
from app.budgets.budget import Mode, Scope
from app.budgets.periods import Period
from app.budgets.refusal import refusal
from app.core.money import Nano, usd_text
from app.core.shape import Shape
from app.errors import WeirError
from app.gateway.explanation import Explanation
from app.limits.amounts import Counts
from app.limits.lease import Charge, Standing
from app.limits.limit import Mode as LimitMode
from app.limits.limit import Per
from app.limits.limit import Scope as LimitScope
from app.limits.refusal import rate_limited


class ExplainedBudget(Shape):
    """A budget that the call counts in, as it stands now."""

    id: str
    name: str
    scope: Scope
    scope_id: str | None
    model: str | None = Field(description="The pattern that the model matches; null for every model.")
    period: Period
    mode: Mode
    is_paused: bool
    limit_usd: str = Field(description="With what was added for this window.")
    spent_usd: str
    reserved_usd: str = Field(description="Held by calls under way.")
    withheld_usd: str = Field(description="What calls with an estimated cost may have cost more than that, at most.")
    remaining_usd: str
    resets_at: int | None = Field(description="Unix seconds; null for a budget that never starts anew.")

    @classmethod
    def of(cls, window: Window) -> "ExplainedBudget":
        """Return the budget of *window*."""
        budget = window.budget
        return cls(
            id=budget.id,
            name=budget.name,
            scope=budget.scope,
            scope_id=budget.scope_id,
            model=budget.model,
            period=budget.period,
            mode=budget.mode,
            is_paused=budget.is_paused,
            limit_usd=usd_text(Nano(window.limit_nano)),
            spent_usd=usd_text(Nano(window.spent_nano)),
            reserved_usd=usd_text(Nano(window.reserved_nano)),
            withheld_usd=usd_text(Nano(window.withheld_nano)),
            remaining_usd=usd_text(Nano(window.headroom_nano)),
            resets_at=None if window.span.ends_at is None else int(window.span.ends_at.timestamp()),
        )


class ExplainedLimit(Shape):
    """A limit that the call counts in, as it stands now."""

    id: str
    name: str
    scope: LimitScope
    model: str | None = Field(description="The pattern that the model matches; null for every model.")
    counts: Counts
    per: Per | None
    mode: LimitMode
    maximum: int
    remaining: int
    requested: int = Field(description="What this call would count.")

    @classmethod
    def of(cls, charge: Charge, standing: Standing) -> "ExplainedLimit":
        """Return the limit of *charge*."""
        limit = charge.limit
        return cls(
            id=limit.id,
            name=limit.name,
            scope=limit.scope,
            model=limit.model,
            counts=limit.counts,
            per=limit.per,
            mode=limit.mode,
            maximum=limit.maximum,
            remaining=standing.remaining,
            requested=charge.cost,
        )


class ExplanationView(Shape):
    """What would become of the call if it were made now."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "object": "weir.explanation",
                "decision": "admitted",
                "reason": None,
                "upstream": "openai",
                "model": "gpt-4o-mini",
                "price_id": "price_3c1d",
                "ceiling_usd": "0.01640615",
                "held_usd": "0.01640615",
                "max_output_tokens": 16384,
                "is_counted_exactly": False,
                "budgets": [],
                "limits": [],
            }
        }
    )

    object: Literal["weir.explanation"] = "weir.explanation"
    decision: str = Field(description="`admitted`, or the `code` of the error that the call would get.")
    reason: str | None = Field(description="The message of that error.")
    upstream: str = Field(description="The upstream that would get it.")
    model: str
    price_id: str | None
    ceiling_usd: str = Field(description="The most that it can cost, as it is.")
    held_usd: str | None = Field(description="What its budgets would hold for it until its cost is known.")
    max_output_tokens: int | None = Field(description="The maximum that would be set, as the call names none.")
    is_counted_exactly: bool = Field(description="Its input was counted in tokens, as its size in bytes did not fit.")
    budgets: list[ExplainedBudget] = Field(description="Every budget that it counts in; all of them must admit it.")
    limits: list[ExplainedLimit] = Field(description="Every limit that it counts in; all of them must admit it.")

    @classmethod
    def of(cls, explanation: Explanation) -> "ExplanationView":
        """Return *explanation* as it is shown."""
        answer, verdict = explanation.answer, explanation.verdict
        error: WeirError | None = explanation.unavailable
        if error is None and not isinstance(answer, Grant):
            error = refusal(answer, 0)
        if verdict.refused is not None:  # limits come first
            error = rate_limited(explanation.charges, verdict.standings, verdict.refused)
        return cls(
            decision="admitted" if error is None else str(error.code),
            reason=None if error is None else error.message,
            upstream=explanation.target.upstream.name,
            model=explanation.target.model,
            price_id=explanation.ceiling.price_id,
            ceiling_usd=usd_text(explanation.ceiling.nano),
            held_usd=usd_text(answer.ceiling_nano) if isinstance(answer, Grant) else None,
            max_output_tokens=explanation.output_tokens_cap,
            is_counted_exactly=explanation.is_counted_exactly,
            budgets=[ExplainedBudget.of(window) for window in explanation.windows],
            limits=[ExplainedLimit.of(*pair) for pair in zip(explanation.charges, verdict.standings, strict=True)],
        )
